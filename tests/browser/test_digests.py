"""Digests in Debian's Chromium: from the mail to the page of a link to the release; the choice of a person."""

from __future__ import annotations

import email
import subprocess
from email.policy import default

import pytest

from loadtest.servers.server import FORKPOLICY
from tests.browser.axe import axe
from tests.browser.chromium import DARK, DESK, LIGHT, PHONE, Chromium
from tests.browser.held_site import HeldSite, Stranger, hostile
from tests.browser.test_pages import PICTURES
from tests.gateway.next_servers import NextServer
from tests.process.waiting import eventually


def with_digests(base, port):
    """A site whose store sends digests, and what is released, to a port of ours."""
    site = HeldSite(base, others=f'[release]\nsmtp = "127.0.0.1:{port}"\nretry_s = 1\n')
    path = site.held.store.settings
    path.write_text(f'{path.read_text()}\n[digest]\nsender = "gateway@example.com"\nurl = "{site.origin}"\n')
    return site


def choose_daily(site, browser):
    """Anna chooses by her page."""
    browser.sign_in(site.links["anna"])
    browser.click("Digests by mail")
    browser.find('option[value="daily"]').click()
    browser.click("Keep")
    assert "Kept." in browser.text


def html_of(server, site, path):
    """Send the digests that are due; the HTML of the newest mail as a file."""
    done = subprocess.run(
        [*FORKPOLICY, "gateway", "digest", "-c", str(site.held.store.settings)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "1 sent" in done.stdout, done.stderr
    mail = email.message_from_bytes(server.taken[-1].data, policy=default)
    path.write_text(mail.get_body(("html",)).get_content())
    return path


def test_a_mail_is_released_from_its_digest(tmp_path, browsers):
    """The person chooses digests, one comes; nothing in it leads anywhere but to us; its link shows the mail, releases
    it without signing in, and says later that it was used.
    """
    with NextServer() as server, with_digests(tmp_path / "site", server.port) as site, Stranger() as stranger:
        (held,) = site.held.hold(hostile(stranger.origin))
        choose_daily(site, browsers(site.origin))
        page = html_of(server, site, tmp_path / "digest.html")
        reader = browsers(site.origin)
        reader.driver.get(page.as_uri())
        reader.picture(PICTURES / "digest-mail.png")
        links = [each.get_attribute("href") for each in reader.all("a")]
        assert all(each.startswith(site.origin) for each in links)
        assert "owned" not in reader.driver.title
        reader.click("Look at it, release or delete it", "body")
        link = reader.address
        assert link.startswith("/d/")
        assert "hostile" in reader.text
        assert "Dear Anna" not in reader.text
        assert site.held.states()[held] == "held"
        reader.click("Release")
        assert "This link was used: the mail was released." in reader.text
        server.wait_for(2)
        assert b"your bank" in server.taken[1].data
        assert eventually(lambda: site.held.states()[held] == "sent", 30) is not False
        reader.go(link)
        assert "This link was used" in reader.text
        assert not reader.all("main button")
        assert stranger.asked == []
        assert reader.said() == []


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    """A browser of Anna, and the pages about digests that she has."""
    base = tmp_path_factory.mktemp("looked")
    with NextServer() as server, with_digests(base / "site", server.port) as site, Stranger() as stranger:
        site.held.hold(hostile(stranger.origin))
        with Chromium(site.origin) as anna:
            choose_daily(site, anna)
            anna.driver.get(html_of(server, site, base / "digest.html").as_uri())
            link = anna.find("a").get_attribute("href").removeprefix(site.origin)
            anna.go("/")
            yield anna, {"digest": "/held/digest", "digest-link": link}


@pytest.mark.parametrize(("width", "theme"), [(width, theme) for theme in (LIGHT, DARK) for width in (DESK, PHONE)])
def test_the_pages_look_right_in_each_language(looked, width, theme):
    """Not wider than the window, no serious finding of axe-core; the page of a link keeps the language of its digest,
    whatever the browser prefers; pictures are kept.
    """
    anna, addresses = looked
    script = axe()
    anna.look(width, theme)
    for language in ("en", "es", "ca"):
        anna.driver.add_cookie({"name": "language", "value": language})
        for name, address in addresses.items():
            anna.go(address)
            anna.picture(PICTURES / f"{name}-{language}-{theme}-{width}.png")
            assert anna.find("html").get_attribute("lang") == ("en" if name == "digest-link" else language)
            assert not anna.is_wider_than_window(), (name, language)
            assert not script or anna.problems(script) == [], (name, language)
    assert anna.said() == []
