"""Every route with every role: what contract and menu say of its first word, whatever the route itself says.

Endpoints are replaced, so that this is about the way to them alone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.access.sessions import COOKIE
from forkpolicy.console.access.tokens import form_token
from forkpolicy.console.app import application
from forkpolicy.console.page import Page
from forkpolicy.console.parts import Parts
from forkpolicy.console.routes import ROUTES
from forkpolicy.console_settings import ConsoleSettings
from forkpolicy.settings import Settings
from tests.console.asking import Browser

ALL = frozenset(Role)
ADMINS = frozenset({Role.ADMIN})
OPERATORS = frozenset({Role.ADMIN, Role.OPERATOR})
READERS = frozenset({Role.ADMIN, Role.DOMAIN, Role.USER})
ANYBODY = frozenset({*Role, None})
# By the first word of the address, or by the whole of it: who may look, and who may act.
MAY = {
    "": (ALL, ALL),
    "sign-in": (ANYBODY, ANYBODY),
    "first": (ANYBODY, ANYBODY),
    "d": (ANYBODY, ANYBODY),
    "sign-out": (ALL, ALL),
    "theme": (ALL, ALL),
    "account": (ALL, ALL),
    "accounts": (ADMINS, ADMINS),
    "audit": (ADMINS, ADMINS),
    "now": (OPERATORS, ADMINS),
    "queue": (OPERATORS, ADMINS),
    "training": (ADMINS, ADMINS),
    "funnel": (OPERATORS, ADMINS),
    "rules": (OPERATORS, ADMINS),
    "state": (OPERATORS, ADMINS),
    "tables": (OPERATORS, ADMINS),
    "mail": (ALL, ALL),
    "decisions": (ALL, ALL),
    "held": (ALL, READERS),
    "language": (ALL, ALL),
    "why": (ALL, ALL),
    "change": (ADMINS, ADMINS),
    "whatif": (ADMINS, ADMINS),
    # Of own addresses, which an operator may have, too.
    "/held/digest": (ALL, ALL),
    # What stands in a mail is nobody's business who cannot release it.
    **dict.fromkeys(("/held/{id}/body", "/held/{id}/raw", "/held/{id}/parts/{n}"), (READERS, READERS)),
}


def reached(_visit):
    """In place of every endpoint."""
    return Page("home", "Reached", data={"role": "x"})


class Console:
    """The routes of the product, behind its door, with an account and a session of each role."""

    def __init__(self, folder):
        parts = Parts(Settings(console=ConsoleSettings(path=str(folder))))
        routes = [replace(each, get=each.get and reached, post=each.post and reached) for each in ROUTES]
        self.app = application(parts, parts.door, routes)
        self.cookies = {None: ""}
        for role in Role:
            parts.door.accounts.add(role, role)
            self.cookies[role] = parts.door.sessions.begin(parts.door.accounts.find(role), "127.0.0.1")

    def ask(self, role, method, path, form=None, **headers):
        """The status of an answer."""
        browser = Browser(self.app)
        if self.cookies[role]:
            browser.cookies[COOKIE] = self.cookies[role]
        address = re.sub(r"\{[^}]*\}", "1", path)
        return (browser.get(address, **headers) if method == "GET" else browser.post(address, form, **headers)).status

    def form(self, role):
        """With the token of its session."""
        return {"token": form_token(self.cookies[role])} if role else {}


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    return Console(tmp_path_factory.mktemp("console"))


EVERY = [pytest.param(route, role, id=f"{route.path}-{role}") for route, role in product(ROUTES, (*Role, None))]


@pytest.mark.parametrize(("route", "role"), EVERY)
def test_every_route_lets_in_whom_it_may(console, route, role):
    """Others are sent to sign in, or refused."""
    may_look, may_act = MAY.get(route.path) or MAY[route.path.split("/")[1]]
    refused = {"GET": 403 if role else 303, "POST": 403 if role else 401}
    for method, endpoint, may in (("GET", route.get, may_look), ("POST", route.post, may_act)):
        status = console.ask(role, method, route.path, console.form(role))
        if endpoint:
            assert status == (200 if role in may else refused[method]), method
        else:
            assert status != 200 or role in may, method
    if route.get and role is None and None not in may_look:
        assert console.ask(None, "GET", route.path, accept="application/json") == 401


@pytest.mark.parametrize(("route", "role"), [each for each in EVERY if each.values[0].post])
def test_no_action_without_a_form_of_ours(console, route, role):
    """Not without its token or with that of another session, not from another site, whatever the role may do."""
    right = console.form(role)
    others = console.form(Role.USER if role is Role.ADMIN else Role.ADMIN)
    for form in ({}, {"token": ""}, others) if role else ():
        assert console.ask(role, "POST", route.path, form) == 403
    for origin in ("https://evil.example", "null", "", "https://127.0.0.1:8025", "http://127.0.0.1:8025.evil.example"):
        assert console.ask(role, "POST", route.path, right, origin=origin) == 403
    assert console.ask(role, "POST", f"{route.path}?token={right.get('token', '')}", {}) != 200 or role is None


@pytest.mark.parametrize(("route", "role"), EVERY)
def test_every_route_wants_to_be_asked_by_its_name(console, route, role):
    """A site that resolves its name to this machine gets nothing, also where somebody has signed in."""
    if route.get:
        assert console.ask(role, "GET", route.path, host="evil.example:8025") == 403


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_cookie_that_is_none_signs_nobody_in(console, method):
    """Random, empty, cut, that of an account's name."""
    for cookie in ("x" * 43, "admin", console.cookies[Role.ADMIN][:-1], f"{console.cookies[Role.ADMIN]}x", "ü"):
        console.cookies[None] = cookie
        assert console.ask(None, method, "/theme" if method == "POST" else "/", {}) in (303, 401)
    console.cookies[None] = ""


def test_each_address_and_each_name_stands_once():
    """Of two routes of one address the second is never reached, and a menu would name its page twice."""
    for every in ([each.path for each in ROUTES], [each.nav for each in ROUTES if each.nav]):
        assert sorted(every) == sorted(set(every))
