"""The page Change in a browser: what scripts add to it, by the keyboard alone; two at once; and without scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.site import FORGED, Site

PICTURES = Path(__file__).parent.parent.parent / "build" / "screenshots"
SAMPLE = "sender=boss@example.com recipient=staff@example.com client_address=203.0.113.5"
PARTNER = "acl their_office client_address 203.0.113.5\naccess their_office\n"


@pytest.fixture
def own_site(tmp_path):
    """A site that the test may change."""
    with Site(tmp_path / "site") as made:
        yield made


def write(browser, text):
    """Into the editor, as it would be pasted."""
    browser.driver.execute_script(
        "const text = document.getElementById('text'); text.value = arguments[0]; "
        "text.dispatchEvent(new Event('input', {bubbles: true}))",
        text,
    )


def test_mistakes_are_shown_while_typing(own_site, browsers):
    """At their lines, without a button; the page stays as it is."""
    admin = browsers(own_site.origin)
    admin.sign_in(own_site.links["admin"])
    admin.go("/change")
    field = admin.find("#text")
    field.send_keys("acl office client_address nowhere\naccess office\n")
    admin.until(lambda: "line 1, column 27" in admin.find("#checked").text)
    admin.until(lambda: "! 1" in admin.find(".gutter").get_attribute("textContent"))
    admin.picture(PICTURES / "change-mistake-light-1280.png")
    assert field.get_attribute("value").startswith("acl office")
    assert admin.said() == []


def test_names_are_completed_by_the_keyboard(own_site, browsers):
    """Arrows choose, Enter takes, Escape closes; Ctrl-Space asks."""
    admin = browsers(own_site.origin)
    admin.sign_in(own_site.links["admin"])
    admin.go("/change")
    field = admin.find("#text")
    field.send_keys("access from")
    admin.until(lambda: [each.text for each in admin.all("#names li")] == ["from_inside", "from_partner", "from_us"])
    admin.picture(PICTURES / "change-names-light-1280.png")
    field.send_keys(Keys.ARROW_DOWN, Keys.ENTER)
    assert field.get_attribute("value") == "access from_partner"
    field.send_keys(" ", Keys.CONTROL, " ", Keys.NULL)
    admin.until(lambda: admin.all("#names li"))
    field.send_keys(Keys.ESCAPE)
    assert not admin.all("#names li")
    assert field.get_attribute("value") == "access from_partner "
    assert admin.said() == []


@pytest.mark.parametrize("scripts", [True, False])
def test_an_exception_is_tried_applied_and_undone(own_site, browsers, scripts):
    """The story of a false refusal: explained, tried on the past, applied, and taken back."""
    admin = browsers(own_site.origin, scripts=scripts)
    admin.sign_in(own_site.links["admin"])
    admin.go("/change")
    admin.fill("text", PARTNER)
    admin.fill("sample", SAMPLE)
    admin.click("Explain")
    admin.until_shown("The draft changes what becomes of it.")
    admin.picture(PICTURES / "change-explained-light-1280.png")
    admin.click("What if")
    admin.until_shown("lets mail in")
    admin.picture(PICTURES / "change-what-if-light-1280.png")
    admin.fill("note", "their new office")
    admin.click("Apply")
    admin.until_shown("their new office")
    admin.picture(PICTURES / "change-applied-light-1280.png")
    assert own_site.ask(FORGED) == "DUNNO"
    admin.click("Undo this change")
    assert own_site.ask(FORGED).startswith("REJECT")
    assert admin.said() == []


def test_the_second_administrator_sees_both_changes(own_site, browsers):
    """And applies them together."""
    first, second = browsers(own_site.origin), browsers(own_site.origin)
    first.sign_in(own_site.links["admin"])
    second.sign_in(own_site.links["second"])
    for browser in (first, second):
        browser.go("/change")
    first.fill("text", PARTNER)
    first.click("Apply")
    second.fill("text", "acl boss sender ceo@example.com\naccess boss\n")
    second.click("Apply")
    second.until_shown("both, theirs first")
    second.picture(PICTURES / "change-conflict-light-1280.png")
    second.click("Apply this text")
    second.until_shown("It is in the file")
    second.go("/change")
    text = second.find("#text").get_attribute("value")
    assert "their_office" in text
    assert "boss" in text
    second.picture(PICTURES / "change-history-light-1280.png")
    assert second.said() == []


def test_an_entry_of_a_table(own_site, browsers):
    """Is applied and served."""
    admin = browsers(own_site.origin)
    admin.sign_in(own_site.links["admin"])
    admin.go("/change")
    admin.click("partners")
    admin.fill("text", "198.51.100.77\n203.0.113.0/24 until=2099-12-31\n")
    admin.click("Apply")
    admin.until_shown("It is in the file")
    admin.go("/change/table/partners/0")
    admin.until_shown("2099-12-31")
    admin.picture(PICTURES / "change-table-light-1280.png")
    assert admin.said() == []
