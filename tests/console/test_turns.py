"""One visitor's slow pages keep nobody else waiting: real threads, as many as the console has."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

from anyio.to_thread import current_default_thread_limiter

from forkpolicy.console.access.account import Account
from forkpolicy.console.access.gate import Entered
from forkpolicy.console.access.rights import Right, Role
from forkpolicy.console.app import application
from forkpolicy.console.page import Page, Raw, Rows
from forkpolicy.console.routes import Route
from forkpolicy.console.serve import THREADS
from forkpolicy.console.turns import AT_ONCE
from tests.console.asking import Browser


class NamedGate:
    """Whoever the header X-Name says; nobody without."""

    def enter(self, asked):
        """As that account."""
        name = asked.headers.get("x-name")
        return Entered(asked.headers["x-client"], Account(name, Role.USER) if name else None, "session", "token")


class Slow:
    """A page that takes until it is released."""

    def __init__(self):
        self.begun, self.lock = 0, threading.Lock()
        self.reached, self.released = threading.Event(), threading.Event()

    def show(self, _visit):
        """One more is under way."""
        with self.lock:
            self.begun += 1
            if self.begun == AT_ONCE:
                self.reached.set()
        assert self.released.wait(60)
        return Raw(b"slow", "text/plain")

    def show_csv(self, visit):
        """The same when its lines are read, which is while the page is sent."""

        def lines():
            yield [self.show(visit).body.decode()]

        return Page("slow", "Slow", rows=Rows(["it is"], lines()))


def quick(_visit):
    """A page that takes no time."""
    return Raw(b"quick", "text/plain")


def under_way(slow, others, address="/slow"):
    """Twenty slow pages of one visitor, and then a page of each other one. How many slow ones were under way then."""
    parts = SimpleNamespace(gateway=SimpleNamespace(is_on=False), settings=SimpleNamespace(path=""))
    pages = {"/slow": slow.show, "/csv": slow.show_csv, "/quick": quick}
    routes = [Route(path, Right.OPEN, get=page) for path, page in pages.items()]
    browser = Browser(application(parts, NamedGate(), routes))

    async def ask():
        current_default_thread_limiter().total_tokens = THREADS
        first, *more = others
        slows = [asyncio.create_task(browser._ask("GET", address, b"", first)) for _ in range(20)]
        assert await asyncio.to_thread(slow.reached.wait, 60)
        for each in more:
            answer = await asyncio.wait_for(browser._ask("GET", "/quick", b"", each), 30)
            assert answer.body == b"quick"
        begun = slow.begun
        slow.released.set()
        answers = await asyncio.wait_for(asyncio.gather(*slows), 60)
        assert {each.body for each in answers} in ({b"slow"}, {b"it is\r\nslow\r\n"})
        return begun

    try:
        return asyncio.run(ask())
    finally:
        slow.released.set()


def test_an_account_has_a_few_threads():
    """Others, and strangers, have the other threads; all slow pages are answered in the end."""
    anna, bob = ({"x_name": name, "x_client": "192.0.2.1"} for name in ("anna", "bob"))
    stranger = {"x_client": "192.0.2.1"}
    assert under_way(Slow(), [anna, bob, stranger]) == AT_ONCE


def test_so_has_a_network_without_an_account():
    """Accounts in it, and other networks, are not kept waiting."""
    here, far = ({"x_client": address} for address in ("192.0.2.1", "198.51.100.1"))
    assert under_way(Slow(), [here, {**here, "x_name": "anna"}, far]) == AT_ONCE


def test_and_who_asks_for_long_lists():
    """CSV is made while it is sent, and takes its turns all the same."""
    anna, bob = ({"x_name": name, "x_client": "192.0.2.1"} for name in ("anna", "bob"))
    assert under_way(Slow(), [anna, bob], "/csv?format=csv") == AT_ONCE
