"""The page Training with a real store: what was learnt, and what the scanner says, by a real rspamd with Redis."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.gateway.domains import Domain
from forkpolicy.gateway.setup.place import GatewayPlace
from forkpolicy.gateway.setup.rspamd_text import rspamd_files
from loadtest.servers import rspamd
from loadtest.servers.engine import Engine
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import traversable_directory
from tests.console.held import TEXT, HeldConsole
from tests.gateway.test_learning import Controller
from tests.process.waiting import eventually
from tests.redis_servers import needs_redis

DATABASE = Path(__file__).parents[2] / "build" / "rspamd"
STATISTICS = {"statfiles": [{"symbol": "BAYES_SPAM", "revision": 250}, {"symbol": "BAYES_HAM", "revision": 7}]}
HOSTILE = b"Subject: <script>alert(1)</script>\r\n\r\nText\r\n"


class Statistics(Controller):
    """A controller that answers /stat, too."""

    def __init__(self, document=STATISTICS, status=200):
        super().__init__()

        def do_get(handler):
            handler.send_response(status)
            handler.end_headers()
            handler.wfile.write(json.dumps(document).encode())

        self.server.RequestHandlerClass.do_GET = do_get
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


def console(folder, url, password=""):
    """A console whose store knows that controller."""
    more = f'password_file = "{password}"\n' if password else ""
    return HeldConsole(folder, f'[scanner]\ncontroller = "{url}"\n{more}')


def decide(site, mail, what):
    """Release as no spam (not_spam), or delete as spam."""
    (held,) = site.hold(mail)
    site.browser(Role.ADMIN).post("/held/act", {"token": "token", "do": what, f"mail-{held}": "1"})


def settled(site):
    """The page, once nothing is wanted any more."""
    browser = site.browser(Role.ADMIN)
    return eventually(lambda: (found := browser.json("/training")) and not wanted(found) and found)


def wanted(found):
    """Lessons that are still to be given."""
    return sum(each["spam"] + each["ham"] for each in found["counts"] if each["state"] == "wanted")


def test_what_people_decided_is_counted_by_what_became_of_it(tmp_path):
    """Learnt, known, later, failed; the newest first, with the scanner's words; Bayes is not enough yet."""
    with Statistics() as controller, console(tmp_path, controller.url) as site:
        for status, mail, what in ((200, TEXT, "spam"), (208, TEXT + b"2\r\n", "spam"), (500, HOSTILE, "not_spam")):
            controller.status = status
            decide(site, mail, what)
            settled(site)
        found = settled(site)
        counts = {each["state"]: (each["spam"], each["ham"]) for each in found["counts"]}
        assert counts == {"learnt": (1, 0), "known": (1, 0), "wanted": (0, 0), "later": (0, 0), "failed": (0, 1)}
        assert [(each["kind"], each["state"], each["words"]) for each in found["lessons"]][:2] == [
            ("ham", "failed", "500 words 500"),
            ("spam", "known", "208 words 208"),
        ]
        assert found["sentence"] == (
            "The scanner learnt 2 mails that people released or deleted; 1 could not be learnt. "
            "Bayes does not take part in the score yet."
        )
        assert [(each["symbol"], each["learnt"], each["is_enough"]) for each in found["bayes"]] == [
            ("BAYES_SPAM", 250, True),
            ("BAYES_HAM", 7, False),
        ]
        page = site.browser(Role.ADMIN).get("/training")
        assert page.status == 200
        assert f"rspamc -h {controller.url.removeprefix('http://')} stat<" in page.text
        assert "<script>alert" not in page.text
        assert len(site.browser(Role.ADMIN).get("/training?format=csv").text.splitlines()) == 4


def test_what_waits_says_why(tmp_path):
    """404 of an rspamd without Redis."""
    with Statistics() as controller, console(tmp_path, controller.url) as site:
        controller.status = 404
        decide(site, TEXT, "spam")
        found = settled(site)
        assert "1 mail waits" in found["sentence"]
        assert found["lessons"][0]["state"] == "later"
        assert "is its Redis running" in site.browser(Role.ADMIN).get("/training").text


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        ({"statfiles": []}, 200, "it needs a Redis"),
        ({}, 401, "password_file has that of"),
        ({"a": 1}, 200, "does not answer as rspamd's controller does"),
        ([], 200, "does not answer as rspamd's controller does"),
    ],
)
def test_a_scanner_that_does_not_say_it_is_explained(tmp_path, document, status, words):
    """With what to do; the lessons are shown all the same."""
    with Statistics(document, status) as controller, console(tmp_path, controller.url) as site:
        found = site.browser(Role.ADMIN).json("/training")
        assert [each["text"] for each in found["notices"] if words in each["text"]]
        assert found["bayes"] == []
        assert found["sentence"].startswith("Nobody has")


def test_a_scanner_or_a_store_that_is_away_is_named(tmp_path):
    """Nobody listens; the password cannot be read; no store."""
    with console(tmp_path, f"http://127.0.0.1:{free_port()}") as site:
        assert "systemctl status rspamd" in site.browser(Role.ADMIN).json("/training")["notices"][0]["text"]
    found = site.browser(Role.ADMIN).json("/training")
    assert found["sentence"] == "What the scanner learnt cannot be known now."
    assert site.browser(Role.ADMIN).get("/training").status == 200


def test_a_password_that_is_missing_is_named(tmp_path):
    """By its setting and its file."""
    with Statistics() as controller, console(tmp_path, controller.url, "none") as site:
        assert "[scanner] password_file" in site.browser(Role.ADMIN).json("/training")["notices"][0]["text"]


def test_without_a_scanner_nothing_is_learnt(tmp_path):
    """And the page says which setting is empty."""
    with HeldConsole(tmp_path) as site:
        assert "[scanner] controller is empty" in site.browser(Role.ADMIN).json("/training")["notices"][0]["text"]


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.DOMAIN, Role.USER])
def test_it_is_for_admins(tmp_path, role):
    """Everybody's mail stands there."""
    with HeldConsole(tmp_path) as site:
        assert site.browser(role).get("/training").status == 403


@needs_redis
@pytest.mark.skipif(bool(rspamd.missing()), reason=rspamd.missing() or "it is there")
@pytest.mark.timeout(400)  # its first start; and it counts once a minute
def test_a_real_rspamd_says_what_it_knows():
    """One mail is learnt, and its statistics have it as soon as rspamd counts."""
    DATABASE.mkdir(parents=True, exist_ok=True)
    ports = {name: free_port() for name in ("milter", "controller")}
    place = GatewayPlace(**{name: f"127.0.0.1:{port}" for name, port in ports.items()})
    files = rspamd_files([Domain("example.com", "relay:[192.0.2.5]:25")], place)
    with (
        traversable_directory() as base,
        Engine(base / "redis") as engine,
        rspamd.PrivateRspamd(base / "rspamd", DATABASE, files=files, redis=str(engine.socket_path), **ports),
    ):
        url = f"http://127.0.0.1:{ports['controller']}"
        words = " ".join(f"pill{number} cheap" for number in range(60)).encode()
        learn = urllib.request.Request(f"{url}/learnspam", TEXT + words + b"\r\n")
        with urllib.request.urlopen(learn) as answer:
            assert answer.status == 200
        (base / "console").mkdir()
        (base / "site").mkdir()
        with console(base / "site", url) as site:
            asked = site.browser(Role.ADMIN)
            eventually(lambda: of_bayes(asked.json("/training")) == {"BAYES_SPAM": 1, "BAYES_HAM": 0}, 120)


def of_bayes(found):
    """Mails of each class."""
    return {each["symbol"]: each["learnt"] for each in found["bayes"]}
