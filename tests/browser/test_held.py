"""Held mail in Debian's Chromium: people find, read and release their own; a hostile mail does nothing."""

from __future__ import annotations

import pytest
from selenium.common.exceptions import NoSuchElementException

from tests.browser.axe import axe
from tests.browser.chromium import DARK, DESK, LIGHT, PHONE
from tests.browser.held_site import HeldSite, Stranger, hostile
from tests.browser.test_pages import PICTURES
from tests.process.waiting import eventually


def in_frame(browser):
    """The text of the frame of the mail that is shown."""
    browser.driver.switch_to.frame(browser.find("iframe.letter"))
    try:
        return browser.driver.execute_script("return document.body.innerHTML"), browser.find("body").text
    finally:
        browser.driver.switch_to.default_content()


def test_a_hostile_mail_does_nothing(tmp_path, browsers):
    """No script runs, no request leaves, the title stays, nothing for the browser to complain about; the words are
    there, and attachments are files.
    """
    with HeldSite(tmp_path / "site") as site, Stranger() as stranger:
        (held,) = site.held.hold(hostile(stranger.origin))
        anna = browsers(site.origin)
        anna.sign_in(site.links["anna"])
        anna.click("<script>top.document.title='owned'</script> hostile")
        assert anna.address == f"/held/{held}"
        html, text = in_frame(anna)
        assert "Dear Anna" in text
        assert "your bank" in text
        for word in ("<script", "<img", "<svg", "<style", "href", "onclick", "<form", "<iframe", "<meta"):
            assert word not in html, word
        assert anna.driver.title == "<script>top.document.title='owned'</script> hostile - forkpolicy"
        names = [each.text for each in anna.all('a[href*="/parts/"]')]
        assert names == ["script>.svg", "page.html"]
        for address in ("body", "body?as=text"):
            anna.go(f"/held/{held}/{address}")
            assert "owned" not in anna.driver.title
        assert stranger.asked == []
        assert anna.said() == []


def test_a_downloaded_attachment_is_opened_by_nobody(tmp_path, browsers):
    """An HTML file that is an attachment is saved, not shown: the browser stays where it was."""
    with HeldSite(tmp_path / "site") as site, Stranger() as stranger:
        (held,) = site.held.hold(hostile(stranger.origin))
        anna = browsers(site.origin)
        anna.sign_in(site.links["anna"])
        anna.go(f"/held/{held}")
        links = len(anna.all('a[href*="/parts/"]'))
        assert links == 2
        for number in range(links):
            link = anna.all('a[href*="/parts/"]')[number]
            anna.driver.execute_script("arguments[0].removeAttribute('download'); arguments[0].click()", link)
            assert anna.address == f"/held/{held}"
        assert anna.driver.title.endswith("hostile - forkpolicy")
        assert stranger.asked == []


@pytest.mark.parametrize("scripts", [True, False])
def test_a_mail_is_released_from_the_list(tmp_path, browsers, scripts):
    """Chosen, released, gone from the list; the page says so, with and without scripts."""
    with HeldSite(tmp_path / "site") as site:
        (held,) = site.held.hold()
        anna = browsers(site.origin, scripts=scripts)
        anna.sign_in(site.links["anna"])
        anna.find(f'input[name="mail-{held}"]').click()
        anna.picture(PICTURES / "held-list.png")
        anna.click("Release")
        assert "Released: 1." in anna.text
        assert not anna.all(f'a[href="/held/{held}"]')
        eventually(lambda: site.held.states()[held] == "releasing")
        assert anna.said() == []


def test_another_persons_mail_is_not_found(tmp_path, browsers):
    """Bob types the address of Anna's mail."""
    with HeldSite(tmp_path / "site") as site:
        (held,) = site.held.hold()
        bob = browsers(site.origin)
        bob.sign_in(site.links["bob"])
        for address in ("", "/body", "/raw", "/parts/1"):
            bob.go(f"/held/{held}{address}")
            assert "There is no such mail." in bob.text
        with pytest.raises(NoSuchElementException):
            bob.link("Release")


def test_an_administrator_reads_for_a_reason(tmp_path, browsers):
    """The text comes after the reason, and the audit has it."""
    with HeldSite(tmp_path / "site") as site:
        (held,) = site.held.hold()
        admin = browsers(site.origin)
        admin.sign_in(site.links["admin"])
        admin.go(f"/held/{held}")
        assert not admin.all("iframe.letter")
        admin.fill("reason", "she asked me to look")
        admin.click("Show the text")
        assert "Good morning." in in_frame(admin)[1]
        admin.go("/audit")
        assert "she asked me to look" in admin.text
        for address in ("/held", "/training", "/held/lists"):
            admin.go(address)
            assert not axe() or admin.problems(axe()) == [], address
        assert admin.said() == []


@pytest.mark.parametrize(("width", "theme"), [(width, theme) for theme in (LIGHT, DARK) for width in (DESK, PHONE)])
def test_the_pages_look_right_in_each_language(looked, width, theme):
    """Not wider than the window, no serious finding of axe-core, the language named; pictures are kept."""
    anna, addresses = looked
    script = axe()
    anna.look(width, theme)
    for language in ("en", "es", "ca"):
        anna.driver.add_cookie({"name": "language", "value": language})
        for name, address in addresses.items():
            anna.go(address)
            assert anna.find("html").get_attribute("lang") == language
            anna.picture(PICTURES / f"{name}-{language}-{theme}-{width}.png")
            assert not anna.is_wider_than_window(), (name, language)
            assert not script or anna.problems(script) == [], (name, language)
    assert anna.said() == []


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    """A browser of Anna, and the pages that she has."""
    from tests.browser.chromium import Chromium

    with HeldSite(tmp_path_factory.mktemp("looked") / "site") as site, Stranger() as stranger:
        for number in range(3):
            site.held.hold(b"Subject: Invoice %d\r\nFrom: Shop <shop@example.org>\r\n\r\nPay.\r\n" % number)
        (held,) = site.held.hold(hostile(stranger.origin))
        with Chromium(site.origin) as anna:
            anna.sign_in(site.links["anna"])
            pages = {"held": "/held", "held-mail": f"/held/{held}"}
            pages |= {
                "held-lists": "/held/lists",
                "held-digest": "/held/digest",
                "account-of-anna": "/account",
                "where-is-my-mail": "/mail",
            }
            yield anna, pages
