"""The loops that a resolver runs on: gevent's in a worker, one of its own in a command."""

from __future__ import annotations

import os
import socket

import gevent
import pytest

from forkpolicy.worker.dns_loop import GeventLoop
from forkpolicy.world.dns.loop import SelectorLoop
from forkpolicy.world.dns.resolver import Resolver
from loadtest.servers.names.behaviours import has, late, listed, truncated
from loadtest.servers.names.messages import Record
from loadtest.servers.names.server import NameServer
from tests.resolving import asking

DEADLINE_S = 10


class OnGevent:
    """Turns gevent's loop until something is so."""

    def __init__(self):
        self.loop = GeventLoop()

    def until(self, is_done):
        with gevent.Timeout(DEADLINE_S):
            while not is_done():
                gevent.sleep(0.001)


class OnSelectors:
    """The same."""

    def __init__(self):
        self.loop = SelectorLoop()

    def until(self, is_done):
        assert self.loop.run_until(is_done, DEADLINE_S)


@pytest.fixture(params=[OnGevent, OnSelectors])
def on(request):
    return request.param()


def test_a_descriptor_is_watched_until_that_is_stopped(on):
    """Again and again while there is something to read, and not afterwards."""
    ours, theirs = socket.socketpair()
    called = []
    with ours, theirs:
        watch = on.loop.watch(theirs.fileno(), read=True, write=False, ready=lambda *ways: called.append(ways))
        ours.send(b"x")
        on.until(lambda: len(called) >= 3)
        watch.stop()
        watch.stop()
        seen = len(called)
        after = []
        on.loop.after(0.05, lambda: after.append(None))
        on.until(lambda: after)
    assert called == [(True, False)] * seen


def test_what_may_be_written_is_said(on):
    """As c-ares needs it for TCP."""
    ours, theirs = socket.socketpair()
    called = []
    with ours, theirs:
        watch = on.loop.watch(theirs.fileno(), read=True, write=True, ready=lambda *ways: called.append(ways))
        on.until(lambda: called)
        watch.stop()
    assert called[0] == (False, True)


def test_a_timer_calls_once_and_not_when_it_is_stopped(on):
    """In the order of their times."""
    called = []
    on.loop.after(0.03, lambda: called.append("late"))
    on.loop.after(0, lambda: called.append("soon"))
    on.loop.after(0.01, lambda: called.append("stopped")).stop()
    on.until(lambda: len(called) == 2)
    assert called == ["soon", "late"]


def test_what_is_wanted_after_no_time_comes_in_the_next_turn(on):
    """Not in the same one: others have theirs in between."""
    turns = []

    def again():
        turns.append(on.loop.turn)
        if len(turns) < 5:
            on.loop.after(0, again)

    on.loop.after(0, again)
    on.until(lambda: len(turns) == 5)
    assert len(set(turns)) == 5


def test_names_are_resolved_on_both(on):
    """By UDP and by TCP, at once and late."""
    text = has(Record("TXT", "x" * 3000))
    zones = {"list.example": listed(), "slow.example": late(0.2, listed()), "long.example": truncated(text)}
    with NameServer(zones=zones) as server:
        resolver = Resolver(on.loop, [server.address])
        answers = []
        for number in range(30):
            resolver.ask(f"n{number}.list.example", "A", answers.append)
            resolver.ask(f"n{number}.slow.example", "A", answers.append)
            resolver.ask(f"n{number}.long.example", "TXT", answers.append)
        on.until(lambda: len(answers) == 90)
        resolver.close()
    assert resolver.counts == {"ok": 90}


def test_a_child_makes_its_own_after_the_fork():
    """What the parent has asked and closed before is no hindrance."""
    with NameServer(zones={"list.example": listed()}) as server:
        with asking(server.address) as parents:
            parents.ask("parent.list.example")
        child = os.fork()
        if not child:
            with asking(server.address) as its:
                os._exit(0 if its.ask("child.list.example").records == ("127.0.0.2",) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
