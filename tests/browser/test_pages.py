"""Every page that links lead to, for everybody who reads it: contrast, names and order as axe-core asks for them, in
light and dark, on a desk and on a phone, at 200 %.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.axe import axe
from tests.browser.chromium import DARK, DESK, LIGHT, PHONE
from tests.browser.crawl import pages_of
from tests.browser.site import IMAGE, SCRIPT

PICTURES = Path(__file__).parent.parent.parent / "build" / "screenshots"
LOOKS = [(width, theme) for theme in (LIGHT, DARK) for width in (DESK, PHONE)]


@pytest.fixture(scope="module")
def pages(admin):
    """The address of each page by its name."""
    found = pages_of(admin)
    assert admin.said() == []
    return found


def test_links_lead_to_pages(admin, pages):
    """None is missing, broken or not for this account."""
    for name, address in pages.items():
        admin.go(address)
        title = admin.find("h1").text
        assert title not in ("Not found", "A bug", "Not allowed", "Not known now", "Not possible"), (name, admin.text)
    assert admin.said() == []


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_each_page_looks_right(admin, pages, width, theme):
    """Kept as a picture; not wider than the window; nothing for the browser to complain about."""
    admin.look(width, theme)
    wide = []
    for name, address in pages.items():
        admin.go(address)
        admin.picture(PICTURES / f"{name}-{theme}-{width}.png")
        wide += [name] if admin.is_wider_than_window() else []
    assert wide == []
    assert admin.said() == []


@pytest.mark.parametrize("place", ["h1", ".sentence", "main > p:not(.command)"])
def test_a_long_word_is_broken(admin, place):
    """Such as the path of a rule file: on a phone it goes on in the next line."""
    admin.look(PHONE, LIGHT)
    admin.go("/change")
    admin.driver.execute_script("document.querySelector(arguments[0]).textContent = arguments[1]", place, "/x" * 200)
    assert not admin.is_wider_than_window()


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_each_page_is_for_everybody(admin, pages, width, theme):
    """No serious finding of axe-core."""
    if not (script := axe()):
        pytest.skip("axe-core cannot be fetched: npm is missing, or its registry cannot be reached")
    admin.look(width, theme)
    found = {}
    for name, address in pages.items():
        admin.go(address)
        if problems := admin.problems(script):
            found[name] = problems
    assert found == {}


def test_each_page_can_be_made_twice_as_large(admin, pages):
    """At 200 % a window has half as many pixels of the page: none needs scrolling sideways."""
    admin.look(DESK // 2, LIGHT, 450)
    wide = []
    for name, address in pages.items():
        admin.go(address)
        wide += [name] if admin.is_wider_than_window() else []
    assert wide == []


def test_focus_is_seen(admin, pages):
    """The tabulator reaches every control in turn, and each shows that it has the focus."""
    admin.look()
    for name, address in pages.items():
        admin.go(address)
        unseen = []
        for _ in range(40):
            admin.press(Keys.TAB)
            focused = admin.driver.switch_to.active_element
            if focused.tag_name in ("body", "html"):
                break
            style = [focused.value_of_css_property(each) for each in ("outline-style", "outline-width")]
            unseen += [focused.get_attribute("outerHTML")[:200]] if style[0] == "none" or style[1] == "0px" else []
        assert unseen == [], name


def test_the_theme_is_chosen_in_the_menu(admin):
    """Dark stays dark on the next page, whatever the system says."""
    admin.look(theme=LIGHT)
    admin.go("/")
    light = admin.find("html").value_of_css_property("background-color")
    admin.find("details.account > summary").click()
    admin.click("Dark", "details.account")
    dark = admin.find("html").value_of_css_property("background-color")
    assert dark != light
    admin.go("/")
    assert admin.find("html").value_of_css_property("background-color") == dark
    admin.find("details.account > summary").click()
    admin.click("System", "details.account")
    assert admin.find("html").value_of_css_property("background-color") == light


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_pages_for_those_who_have_not_signed_in(site, browsers, width, theme):
    """Signing in, a wrong password, and the page of a one-time link."""
    browser = browsers(site.origin)
    browser.look(width, theme)
    link = site.links["second"].removeprefix(site.origin)
    for name, address in (("sign-in", "/sign-in"), ("first", link), ("first-wrong", "/first/none")):
        browser.go(address)
        browser.picture(PICTURES / f"{name}-{theme}-{width}.png")
        assert not browser.is_wider_than_window()
        assert not axe() or browser.problems(axe()) == [], address
    browser.go("/sign-in")
    browser.fill("name", "nobody")
    browser.fill("password", "wrong")
    browser.click("Sign in")
    assert "The name or the password is wrong." in browser.text
    browser.picture(PICTURES / f"sign-in-wrong-{theme}-{width}.png")
    assert not axe() or browser.problems(axe()) == []
    assert browser.said() == []


def test_strangers_write_no_page(admin, pages):
    """What they sent is text on every page: no script of theirs runs, no element of theirs is there, and what would
    turn the line around is written out.
    """
    admin.look()
    for address in [*pages.values(), *_about_strangers(admin)]:
        admin.go(address)
        assert "owned" not in admin.driver.title, address
        assert admin.all("img[src='x'], script:not([src])") == [], address
        assert not {"\u202e", "\u2066"} & set(admin.driver.page_source), address
    assert admin.said() == []


def _about_strangers(browser):
    """Pages about what they have sent, found as an operator would."""
    browser.go("/decisions?q=client%3A203.0.113.66")
    assert SCRIPT in browser.text
    assert IMAGE[3:24] in browser.text
    assert "\\u202e" in browser.text
    links = [each.get_attribute("href") for each in browser.all("main tbody a.why")]
    return sorted({each.removeprefix(browser.origin) for each in links if each.startswith(browser.origin)})


def test_keys_are_enough(admin):
    """Search, walk through the rows, open one, explain it, and see which keys there are."""
    admin.look()
    admin.go("/decisions")
    admin.press("/")
    assert admin.driver.switch_to.active_element.get_attribute("id") == "search"
    admin.press("203.0.113.5", Keys.ENTER)
    admin.until(lambda: "203.0.113.5" in admin.address)
    admin.press("j")
    admin.press("j")
    rows = admin.all("tbody.rows tr")
    assert [row.get_attribute("class") for row in rows].index("here") == 1
    admin.press("k")
    admin.press("w")
    admin.until(lambda: admin.address.startswith("/why"))
    admin.press("?")
    assert admin.find("dialog#keys").is_displayed()
    admin.press(Keys.ESCAPE)
    assert not admin.find("dialog#keys").is_displayed()
