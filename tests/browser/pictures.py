"""The pictures of README.md in docs/pictures/, of a console as `make demo` has it.

    python -m tests.browser.pictures [DIRECTORY]

What happens, why a mail was refused, what an exception would change, the change that lets it in, and a held mail. Each
is less than 100 kB.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from loadtest.clients.policy_client import PolicyClient
from loadtest.history.past_week import fill_past_week
from loadtest.servers.console import Console
from loadtest.servers.demo_site import demo_server
from loadtest.servers.ports import free_port
from loadtest.traffic.mail import policy_request
from tests.browser.chromium import Chromium
from tests.browser.held_site import HeldSite
from tests.browser.site import FORGED

PLACE = Path(__file__).parent.parent.parent / "docs" / "pictures"
MOST_BYTES = 100_000
WIDTH = 1000
HELD = b"""\
Subject: You have won\r
From: A shop <news@shop.example>\r
To: anna@example.com\r
X-Spamd-Result: default: False [8.20 / 15.00]; SUBJECT_HAS_EXCLAIM(0.00)[]\r
Content-Type: text/html; charset=utf-8\r
\r
<h2>Dear customer</h2><img src="https://shop.example/pixel.png">\r
<p>You have <b>won</b>. <a href="https://shop.example/prize">Take your prize</a> within two days.</p>\r
"""


def take(place):
    """Take them. Raises AssertionError for one that is too large."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        server = demo_server(Path(directory) / "demo", port)
        server.compile()
        fill_past_week(server, server.directory / "decisions.json")
        with server, Console(server, port) as console, Chromium(console.origin) as browser:
            browser.look(WIDTH)
            browser.sign_in(console.add_account("anna", "--role", "admin"))
            with PolicyClient(server.socket_path) as client:
                client.ask(policy_request(FORGED, FORGED.recipients[0], 1))
            _story(browser, place)
        _held(Path(directory) / "held", place)
    for path in place.glob("*.png"):
        assert path.stat().st_size < MOST_BYTES, f"{path} has {path.stat().st_size} bytes"


def _held(directory, place):
    with HeldSite(directory) as site, Chromium(site.origin) as browser:
        (held,) = site.held.hold(HELD, sender="news@shop.example")
        browser.look(WIDTH)
        browser.sign_in(site.links["anna"])
        browser.go(f"/held/{held}")
        browser.picture(place / "held.png", height=620)


def _story(browser, place):
    found = "/decisions?q=from%3Aboss%40example.com"
    browser.until(lambda: browser.go(found) or browser.all("main a.why"))
    browser.go("/now")
    browser.until(lambda: browser.all(".plot canvas"))
    browser.picture(place / "now.png", height=480)
    browser.go(found)
    browser.click("Why", "main table")
    browser.picture(place / "why.png", height=540)
    browser.click("What if there were an exception")
    browser.until(lambda: "This mail:" in browser.text and "being counted" not in browser.text)
    browser.picture(place / "what-if.png", height=390)
    browser.click("Apply")
    browser.until_shown("Undo this change")
    browser.picture(place / "change.png", height=480)


if __name__ == "__main__":
    take(Path(sys.argv[1]) if sys.argv[1:] else PLACE)
