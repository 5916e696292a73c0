"""Which pages there are: whatever the links of pages lead to, one address for each route of the console."""

from __future__ import annotations

import re
from urllib.parse import urldefrag

from forkpolicy.console.routes import ROUTES

MOST_PAGES = 60


def pages_of(browser):
    """The name of each route that the account of a browser can reach by links, and the first address of it."""
    waiting, found, seen = (
        ["/", "/whatif", *(each.path for each in ROUTES if each.nav and not each.is_of_gateway)],
        {},
        set(),
    )
    while waiting and len(found) < MOST_PAGES:
        address = waiting.pop(0)
        name = route_of(address)
        if address in seen or name is None or name in found:
            continue
        seen.add(address)
        browser.go(address)
        found[name] = browser.address
        waiting += _links(browser)
    return found


def route_of(address):
    """The name of the route of an address, for a file name; None where there is none with a page."""
    path = address.partition("?")[0]
    for route in ROUTES:
        pattern = re.sub(r"\\{[^}]*:path\\}", ".+", re.escape(route.path))
        pattern = re.sub(r"\\{[^}]*\\}", "[^/]+", pattern)
        if route.get and re.fullmatch(pattern, path):
            return re.sub(r"\W+", "-", route.path).strip("-") or "first-page"
    return None


def _links(browser):
    # In one step: a live list changes meanwhile.
    links = browser.driver.execute_script("return [...document.querySelectorAll('a[href]')].map(each => each.href)")
    own = [urldefrag(each)[0].removeprefix(browser.origin) for each in links if each.startswith(f"{browser.origin}/")]
    return [each for each in own if "format=csv" not in each and "live" not in each]
