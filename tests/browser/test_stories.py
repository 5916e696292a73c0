"""What people do with the console, with scripts and without: a refusal is understood and taken back, a bounce is
explained, a domain and a user see their own mail.
"""

from __future__ import annotations

import pytest

from tests.browser.site import FORGED, Site
from tests.browser.test_pages import PICTURES

REJECTED = "REJECT 5.7.1 Authentication required to send as example.com"
BOUNCE = """\
This is the mail system at host mail.example.org.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients.

<anna@example.net>: host mx.example.com[192.0.2.25] said: 554 5.7.1
    <anna@example.net>: Recipient address rejected: No thanks ({code})
    (in reply to RCPT TO command)
"""


def is_answered(browser, scripts):
    """Whether What if has its answer, which a page without scripts shows when it is asked for again."""
    if "This mail:" in browser.text:
        return True
    if not scripts:
        browser.link("Look again", "main").click()
    return False


@pytest.mark.parametrize("scripts", [True, False])
def test_a_refused_mail_is_let_in_and_the_exception_undone(tmp_path, browsers, scripts):
    """From the refusal to Why, What if and Apply; the mail passes; Undo, and it is refused again."""
    look = "scripts" if scripts else "plain"
    with Site(tmp_path / "site") as site:
        assert site.ask(FORGED) == REJECTED
        admin = browsers(site.origin, scripts=scripts)
        admin.sign_in(site.links["admin"])
        admin.go("/decisions?q=boss%40example.com")
        admin.click("Why", "main table")
        assert admin.driver.title.startswith("Why ")
        assert "!signed_in" in admin.text
        admin.picture(PICTURES / f"story-why-{look}.png")
        admin.click("What if there were an exception")
        admin.until(lambda: is_answered(admin, scripts))
        assert "lets mail in" in admin.text
        assert "being replayed" not in admin.text
        admin.until(lambda: "being counted" not in admin.text or not scripts)
        admin.picture(PICTURES / f"story-what-if-{look}.png")
        admin.fill("note", "their new office")
        admin.click("Apply")
        assert "their new office" in admin.text
        assert site.ask(FORGED) == "DUNNO"
        admin.picture(PICTURES / f"story-applied-{look}.png")
        admin.click("Undo this change")
        assert site.ask(FORGED) == REJECTED
        assert admin.said() == []


def test_a_bounce_is_explained(site, admin):
    """The postmaster pastes what the other side has sent, and sees the rule."""
    (decision, *_) = site.found("from:spam@example.org", "since:1d")
    admin.go("/decisions")
    admin.find("main details summary").click()
    admin.fill("text", BOUNCE.format(code=decision["id"]))
    admin.click("Find the mail")
    assert "spam@example.org" in admin.text
    admin.picture(PICTURES / "story-bounce.png")
    if admin.address.startswith("/decisions"):
        admin.click("Why", "main table")
    assert decision["id"] in admin.text
    assert "is_spam" in admin.text
    assert admin.said() == []


@pytest.mark.parametrize(
    ("name", "seen", "unseen"),
    [
        ("domain", ["spam@example.org", "anna@example.net"], ["boss@example.com"]),
        ("user", ["spam@example.org", "anna@example.net"], ["boss@example.com"]),
        ("operator", ["spam@example.org", "boss@example.com"], []),
    ],
)
def test_an_account_sees_its_own_mail(site, browsers, name, seen, unseen):
    """A page of decisions, Why of one, and no way to what is not theirs."""
    browser = browsers(site.origin)
    browser.sign_in(site.links[name])
    browser.go("/decisions?q=since%3A1d")
    for text in seen:
        assert text in browser.text
    for text in unseen:
        assert text not in browser.text
    browser.picture(PICTURES / f"decisions-of-{name}.png")
    browser.go("/decisions?q=spam%40example.org")
    browser.click("Why", "main table")
    assert "spam@example.org" in browser.text
    browser.picture(PICTURES / f"why-of-{name}.png")
    (hidden, *_) = site.found("from:boss@example.com", "since:1d")
    browser.go(f"/why/{hidden['id']}")
    assert ("boss@example.com" in browser.text) == (name == "operator")
    browser.go("/change")
    assert browser.find("h1").text == "Not allowed"
    assert browser.said() == []
