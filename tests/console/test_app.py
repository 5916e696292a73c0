"""The way of a request: headers of every answer, JSON and CSV, mistakes as pages, and what is a bug of ours."""

import logging
import socket

import pytest
from starlette.requests import Request

from forkpolicy.console.access.proxies import Proxies
from forkpolicy.console.access.rights import Right, Role
from forkpolicy.console.app import MAX_BODY_BYTES, MAX_STRANGERS_BYTES, _asked, application
from forkpolicy.console.errors import NotFound, UserMistake
from forkpolicy.console.headers import HEADERS
from forkpolicy.console.page import Page, Redirect, Rows
from forkpolicy.console.parts import Parts
from forkpolicy.console.rendering import ago, shown
from forkpolicy.console.routes import ROUTES as ROUTES_OF_THE_CONSOLE
from forkpolicy.console.routes import Route
from forkpolicy.console.serve import _listening
from forkpolicy.errors import NotRunningError
from forkpolicy.settings import Settings
from loadtest.servers.ports import free_port
from tests.console.asking import Browser, SignedIn


def page(visit):
    """A list of two."""
    rows = Rows(("sender", "mails"), [("=1+1", 2), (None, 3), ("a;=1+1;b;-c\n@d", 4)])
    return Page("home", "Two", "There are two.", {"role": visit.text("role") or "none"}, rows=rows)


def missing(visit):
    """Something that is not there."""
    raise NotFound("There is no such mail.")


def mistaken(visit):
    """A form that cannot be used."""
    raise UserMistake("number: expected a number from 1 to 9, got x", "number")


def away(visit):
    """The server does not run."""
    raise NotRunningError("/run/control: no master is running there")


def partly(visit):
    """A part of the page cannot be known."""
    with visit.noting("workers"):
        away(visit)
    return Page("home", "Partly", data={"role": "x"})


def broken(visit):
    """A bug."""
    raise ZeroDivisionError


def act(visit):
    """Something is done."""
    return Redirect("/page", ("theme=dark; Path=/",))


ROUTES = (
    Route("/page", Right.SIGNED_IN, get=page, post=act, act=Right.CHANGE, nav="Two"),
    *(Route(f"/{each.__name__}", Right.SIGNED_IN, get=each) for each in (missing, mistaken, away, partly, broken)),
    Route("/server", Right.SEE_SERVER, get=page, nav="Server"),
)


def browser(role=Role.ADMIN):
    """One who has signed in with a role."""
    return Browser(application(Parts(Settings()), SignedIn(role), ROUTES))


@pytest.mark.parametrize(
    "address", ["/page", "/missing", "/broken", "/nowhere", "/page?format=csv", "/static/0/none.js"]
)
def test_every_answer_says_what_a_browser_may_load(address):
    """Pages, errors, files and lists alike."""
    headers = browser().get(address).headers
    assert {name: headers[name.lower()] for name in HEADERS} == HEADERS
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


def test_json_and_csv_are_of_the_same_page():
    """The twin has the sentence and the data; the list defuses what a spreadsheet would take for a formula, also where
    `;` ends a cell.
    """
    asked = browser()
    assert asked.json("/page?role=y") == {
        "title": "Two",
        "sentence": "There are two.",
        "notices": [],
        "command": "",
        "role": "y",
    }
    answer = asked.get("/page?format=csv")
    assert (answer.headers["content-type"], answer.text) == (
        "text/csv; charset=utf-8",
        "sender,mails\r\n'=1+1,2\r\n,3\r\n\"a;'=1+1;b;'-c\n'@d\",4\r\n",
    )


def test_every_address_has_one_route():
    """A second one would never be reached, and stand twice in the list of pages."""
    paths = [route.path for route in ROUTES_OF_THE_CONSOLE]
    names = [route.nav for route in ROUTES_OF_THE_CONSOLE if route.nav]
    assert (len(set(paths)), len(set(names))) == (len(paths), len(names))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_page_does_not_wait_for_an_acknowledgement(host):
    """Nagle's algorithm would hold the body of each page back for 40 ms after its head."""
    port = free_port()
    with _listening(f"{host}:{port}") as listening, socket.create_connection((host.strip("[]"), port)):
        listening.setblocking(True)
        with listening.accept()[0] as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def commanding(visit):
    """A page that a command equals."""
    return Page("home", "x", data={"role": "x"}, command="forkpolicy status")


def test_the_equal_command_has_the_settings(tmp_path):
    """It does the same where those are not in their usual place; the twin has it, too."""
    odd = f"{tmp_path}/a b.toml"
    for path, command in (("", "forkpolicy status"), (odd, f"forkpolicy status -c '{odd}'")):
        routes = (Route("/page", Right.SIGNED_IN, get=commanding),)
        asked = Browser(application(Parts(Settings(path=path)), SignedIn(), routes))
        assert asked.json("/page")["command"] == command


@pytest.mark.parametrize(
    ("address", "status", "sentence"),
    [
        ("/missing", 404, "There is no such mail."),
        ("/mistaken", 422, "number: expected a number from 1 to 9, got x"),
        ("/away", 503, "/run/control: no master is running there"),
        ("/nowhere", 404, "There is no such page."),
    ],
)
def test_what_goes_wrong_is_a_sentence(address, status, sentence):
    """In the page and in its twin."""
    answer = browser().get(address)
    assert answer.status == status
    assert sentence in answer.text
    assert browser().get(address, accept="application/json").json()["sentence"] == sentence


def test_a_bug_is_logged_and_shows_nothing_of_itself(caplog):
    """The traceback is for the log."""
    with caplog.at_level(logging.ERROR):
        answer = browser().get("/broken")
    assert answer.status == 500
    assert "ZeroDivisionError" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_a_part_that_is_away_is_a_notice():
    """The page is shown, and says what it cannot know."""
    answer = browser().get("/partly")
    assert answer.status == 200
    assert "workers: /run/control: no master is running there" in answer.text


def test_a_role_sees_and_does_what_it_may():
    """The list of pages has what it may open, and an action may need more than looking."""
    assert "Server" in browser(Role.OPERATOR).get("/page").text
    assert "Server" not in browser(Role.USER).get("/page").text
    assert browser(Role.USER).get("/server").status == 403
    assert browser(Role.OPERATOR).post("/page", {}).status == 403
    done = browser().post("/page", {})
    assert (done.status, done.headers["location"], done.headers["set-cookie"]) == (303, "/page", "theme=dark; Path=/")


def test_an_action_is_not_reached_by_a_link():
    """GET changes nothing."""
    routes = (Route("/act", Right.CHANGE, post=act),)
    asked = Browser(application(Parts(Settings()), SignedIn(), routes))
    assert asked.get("/act").status == 405
    assert asked.post("/act", {}).status == 303


def test_a_form_has_bounds():
    """More bytes, or more fields, than any page of ours sends."""
    assert browser().post("/page", {"text": "x" * MAX_BODY_BYTES}).status == 413
    assert browser().post("/page", {f"f{number}": "" for number in range(1001)}).status == 413


def test_a_header_that_comes_twice_is_one_list():
    """A proxy may add a line of its own to the one that a browser has sent: its own must not be the one left out."""
    lines = [(b"x-forwarded-for", b"203.0.113.9"), (b"host", b"x"), (b"x-forwarded-for", b"198.51.100.7")]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": lines, "client": None}
    asked = _asked(Request(scope), {})
    assert asked.headers == {"x-forwarded-for": "203.0.113.9, 198.51.100.7", "host": "x"}
    assert Proxies(["unix"]).client(asked.peer, asked.headers) == "198.51.100.7"


def test_strangers_send_small_forms():
    """Or many of them at once would fill the memory."""
    large = {"text": "x" * MAX_STRANGERS_BYTES}
    assert browser(Role.USER).post("/page", large).status == 413
    assert browser().post("/page", large).status == 303


def test_hostile_text_is_text():
    """Escaped by the template, and visible where it would hide itself or turn the line around."""
    answer = browser().get("/page?role=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text
    assert shown("a\u202eb\u2066c\x00d\u2028e\tf\u200b") == "a\\u202eb\\u2066c\\x00d\\u2028e\\tf\\u200b"
    assert shown("x" * 203) == f"{'x' * 200} ... (3 more characters)"


def test_times_are_in_one_unit():
    """The largest of which there are two."""
    assert [ago(1000 - away, 1000) for away in (0, 100, 130, 8000, 200_000)] == [
        "0 s ago",
        "100 s ago",
        "2 min ago",
        "2 h ago",
        "2 d ago",
    ]
    assert ago(1200, 1000) == "in 3 min"
    # What was read while the page was made.
    assert ago(1000.4, 1000) == "0 s ago"
