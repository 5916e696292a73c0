"""Welcome and blocked senders in Debian's Chromium: from a held mail to the list, undone, added by hand, seen alone."""

from __future__ import annotations

import pytest

from tests.browser.axe import axe
from tests.browser.chromium import DARK, DESK, LIGHT, PHONE
from tests.browser.held_site import HeldSite
from tests.browser.test_pages import PICTURES


@pytest.fixture
def site(tmp_path):
    """A console whose policy has users' lists; no policy server runs."""
    with HeldSite(tmp_path / "site") as made:
        yield made


@pytest.mark.parametrize("scripts", [True, False])
def test_a_sender_is_blocked_from_a_held_mail(site, browsers, scripts):
    """It says what that did and is undone by a click; the mail stays deleted, and another user sees nothing of it."""
    (held,) = site.held.hold()
    anna = browsers(site.origin, scripts=scripts)
    anna.sign_in(site.links["anna"])
    anna.go(f"/held/{held}")
    anna.click("Block this sender")
    assert anna.address == "/held/lists"
    assert "ann@example.org is blocked for anna@example.com." in anna.text
    assert "deleted: 1." in anna.text
    assert "it does not answer" in anna.text
    assert site.held.states()[held] == "deleted"
    lists = site.console.path / "tables"
    assert (lists / "user-block").read_text() == "anna@example.com ann@example.org\n"
    bob = browsers(site.origin, scripts=scripts)
    bob.sign_in(site.links["bob"])
    bob.go("/held/lists")
    assert "ann@example.org" not in bob.text
    anna.click("Undo")
    assert "ann@example.org is in no list of anna@example.com." in anna.text
    assert (lists / "user-block").read_text() == ""
    anna.fill("sender", "Shop.Example")
    anna.click("Welcome this sender")
    assert (lists / "user-welcome").read_text() == "anna@example.com shop.example\n"
    anna.fill("sender", "<script>document.title='owned'</script>@shop.example")
    anna.click("Block this sender")
    assert "owned" not in anna.driver.title
    anna.click("Remove")
    assert "owned" not in anna.driver.title
    assert anna.said() == []
    assert bob.said() == []


@pytest.mark.parametrize(("width", "theme"), [(width, theme) for theme in (LIGHT, DARK) for width in (DESK, PHONE)])
def test_the_page_looks_right_in_each_language(site, browsers, width, theme):
    """Not wider than the window, no serious finding of axe-core; pictures are kept. Of a user and of a domain."""
    text = "".join(f"anna@example.com sender{n}.example\n" for n in range(4))
    (site.console.path / "tables" / "user-block").write_text(f"{text}example.net spam.example until=2099-12-31\n")
    (site.console.path / "tables" / "user-welcome").write_text("anna@example.com news-letters@very.long.shop.example\n")
    script = axe()
    for name in ("anna", "domain"):
        browser = browsers(site.origin)
        browser.sign_in(site.links[name])
        browser.look(width, theme)
        for language in ("en", "es", "ca"):
            browser.driver.add_cookie({"name": "language", "value": language})
            browser.go("/held/lists")
            browser.picture(PICTURES / f"lists-{name}-{language}-{theme}-{width}.png")
            assert not browser.is_wider_than_window(), (name, language)
            assert not script or browser.problems(script) == [], (name, language)
        assert browser.said() == []
