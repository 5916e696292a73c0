"""How a worker ends, without one."""

from __future__ import annotations

import os
from types import SimpleNamespace

import gevent
import pytest
from gevent.event import Event

from forkpolicy.worker import shutdown as leaving_module
from forkpolicy.worker.handover import Receipt
from forkpolicy.worker.shutdown import Shutdown

DEADLINE_S = 50.0


class Held:
    """What a worker holds: some connections go when it `looked` for room, others never."""

    def __init__(self, going=0, staying=0):
        self.held = {("goes", number) for number in range(going)} | {("stays", number) for number in range(staying)}
        self.receipt, self.looked = Receipt(), Event()
        # What goes along with each, as a sibling would have it.
        self.ends = [os.dup(self.receipt.fd) for _ in range(going)]

    def give_all(self):
        self.held = {each for each in self.held if each[0] == "stays"}
        self.looked.set()

    def take_all(self):
        while self.ends:
            os.close(self.ends.pop())

    def close_what_cannot_go(self):
        self.held.clear()


@pytest.fixture
def leaves(monkeypatch):
    """Begins to retire with what is held; the Shutdown, and the greenlet that waits."""
    monkeypatch.setattr(leaving_module, "setproctitle", lambda _title: None)
    begun = []

    def begin(held, stays=lambda: True):
        slot = type("Slot", (dict,), {"number": 0})(serving=1)
        waiting = SimpleNamespace(give_up=lambda: None, one_less=Event())
        shutdown = Shutdown(held, waiting, [], [], SimpleNamespace(any_stays=stays), slot)
        begun.append((held, gevent.spawn(shutdown.retire)))
        return shutdown

    yield begin
    for held, waiting in begun:
        waiting.join(DEADLINE_S)
        assert waiting.ready()
        held.take_all()
        held.receipt.close()


def test_that_others_wait_may_be_learnt_on_the_way(leaves):
    """Recycled just before an upgrade, a worker waits for a successor in vain: its master starts none any more."""
    looked = Event()

    def nobody_stays():
        looked.set()
        return False

    shutdown = leaves(Held(), nobody_stays)
    assert looked.wait(DEADLINE_S)
    assert shutdown.begun
    assert not shutdown.done.is_set()
    shutdown.retire(others_wait=True)
    assert shutdown.done.wait(DEADLINE_S)


def test_a_worker_stays_until_what_it_has_given_was_taken(leaves):
    """And no longer, whatever else is on its way between others."""
    held = Held(going=3)
    shutdown = leaves(held)
    assert held.looked.wait(DEADLINE_S)
    assert not shutdown.done.is_set()
    held.take_all()
    assert shutdown.done.wait(DEADLINE_S)


@pytest.mark.parametrize("hurried", ["hurry", "stop"])
def test_a_worker_that_is_told_to_hurry_waits_for_nothing(leaves, hurried):
    """Neither for a connection that cannot be given away, nor for siblings to take those that were."""
    held = Held(going=3, staying=2)
    shutdown = leaves(held)
    assert held.looked.wait(DEADLINE_S)
    assert not shutdown.done.is_set()
    if hurried == "hurry":
        shutdown.hurry()
    else:
        held.held.clear()
        shutdown.stop(drain=False)
    assert shutdown.done.wait(DEADLINE_S)
