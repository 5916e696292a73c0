"""Connections are served in the order in which they became ready, each of them, and none for another."""

from __future__ import annotations

import os
import random
import socket

import gevent
import pytest

from forkpolicy.worker.readiness import MAX_A_TURN, Readiness

DEADLINE_S = 10


class Pairs:
    """Socket pairs whose one ends are waited for; `read` has who was called back, in order."""

    def __init__(self):
        self.readiness = Readiness()
        self.ours, self.theirs, self.read = [], [], []

    def add(self, count, more=lambda _number: None):
        for number in range(count):
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            self.ours.append(ours)
            self.theirs.append(theirs)
            self.readiness.to_read(theirs.fileno(), lambda number=number: self.called(number, more))

    def called(self, number, more):
        self.read.append(number)
        self.theirs[number].recv(100)
        more(number)

    def until(self, count):
        """Let the loop run until so many were called back."""
        with gevent.Timeout(DEADLINE_S):
            while len(self.read) < count:
                gevent.sleep(0)
        return self.read


@pytest.fixture
def pairs():
    made = Pairs()
    yield made
    made.readiness.close()
    for each in (*made.ours, *made.theirs):
        each.close()


@pytest.mark.parametrize("rounds", [1, 3])
def test_first_come_first_served(pairs, rounds):
    """Whoever wrote first is served first, also those that were served a moment ago in another order, and more of them
    than one turn takes.
    """
    pairs.add(3 * MAX_A_TURN)
    for number in range(rounds):
        order = list(range(len(pairs.ours)))
        random.Random(number).shuffle(order)
        pairs.read.clear()
        for each in order:
            pairs.ours[each].send(b"x")
        assert pairs.until(len(order)) == order


def test_one_that_comes_again_waits_behind_the_others(pairs):
    """While others wait, a client that asks again as soon as it is answered does not get in front of them."""
    pairs.add(3, lambda number: pairs.ours[0].send(b"x") if number == 0 and len(pairs.read) < 3 else None)
    for each in pairs.ours:
        each.send(b"x")
    assert pairs.until(4)[:4] == [0, 1, 2, 0]


def test_a_turn_leaves_the_loop_to_others(pairs):
    """What else waits in the loop gets its turn after MAX_A_TURN."""
    pairs.add(3 * MAX_A_TURN)
    seen = []
    timer = gevent.get_hub().loop.timer(0.0)
    timer.start(lambda: seen.append(len(pairs.read)))
    for each in pairs.ours:
        each.send(b"x")
    pairs.until(3 * MAX_A_TURN)
    timer.stop()
    timer.close()
    assert seen
    assert seen[0] <= MAX_A_TURN


def test_what_is_left_is_asked_for_again(pairs):
    """A callback that has not taken all is not called again by itself, and is with `again`."""
    ours, theirs = socket.socketpair()
    calls = []

    def take_one():
        calls.append(theirs.recv(1))
        if len(calls) < 3:
            pairs.readiness.again(theirs.fileno())

    pairs.readiness.to_read(theirs.fileno(), take_one)
    ours.sendall(b"abc")
    with gevent.Timeout(DEADLINE_S):
        while len(calls) < 3:
            gevent.sleep(0)
    assert calls == [b"a", b"b", b"c"]
    pairs.readiness.remove(theirs.fileno())
    ours.close()
    theirs.close()


def test_last_bytes_and_the_end_in_one_event(pairs):
    """A peer that writes and closes at once: its bytes, and then its end."""
    ours, theirs = socket.socketpair()
    taken = []

    def take():
        taken.append(theirs.recv(100))
        if not taken[-1]:
            pairs.readiness.remove(theirs.fileno())

    pairs.readiness.to_read(theirs.fileno(), take)
    ours.sendall(b"bye")
    ours.close()
    with gevent.Timeout(DEADLINE_S):
        while taken[-1:] != [b""]:
            gevent.sleep(0)
    assert taken == [b"bye", b""]
    theirs.close()


def test_one_that_was_closed_in_the_same_turn_is_not_served(pairs):
    """A callback removes another that is ready: it is not called, though its number may be in use again."""
    pairs.add(2, lambda _number: pairs.readiness.remove(pairs.theirs[1].fileno()))
    for each in pairs.ours:
        each.send(b"x")
    pairs.until(1)
    for _ in range(5):
        gevent.sleep(0)
    assert pairs.read == [0]


def test_one_that_another_process_holds_is_not_reported(pairs):
    """Removed and then given away: the file lives on elsewhere, and nobody here is called for it."""
    pairs.add(1)
    kept = os.dup(pairs.theirs[0].fileno())
    pairs.readiness.remove(pairs.theirs[0].fileno())
    pairs.ours[0].send(b"x")
    for _ in range(5):
        gevent.sleep(0)
    os.close(kept)
    assert pairs.read == []


class Ending(BaseException):
    """Such as GreenletExit: not an Exception."""


@pytest.mark.parametrize("kind", [ValueError, Ending])
def test_an_exception_is_reported_and_the_next_is_served(pairs, monkeypatch, kind):
    """What one callback raises is reported as the loop does; everybody else is served, and so is the next event."""
    reported = []
    monkeypatch.setattr(gevent.get_hub(), "print_exception", lambda *what: reported.append(what[1]))

    def fail(number):
        if number == 0:
            raise kind("a bug")

    pairs.add(2, fail)
    for _ in range(2):
        for each in pairs.ours:
            each.send(b"x")
        pairs.until(len(pairs.read) + 2)
    assert pairs.read == [0, 1, 0, 1]
    assert reported == [kind, kind]


def test_writing_and_reading_take_turns(pairs):
    """Waiting to write ends waiting to read, and the other way round, what has come meanwhile is found."""
    ours, theirs = socket.socketpair()
    seen = []
    fd = theirs.fileno()
    pairs.readiness.to_write(
        fd, lambda: (seen.append("write"), pairs.readiness.to_read(fd, lambda: seen.append(theirs.recv(9))))
    )
    ours.send(b"x")
    with gevent.Timeout(DEADLINE_S):
        while len(seen) < 2:
            gevent.sleep(0)
    assert seen == ["write", b"x"]
    pairs.readiness.remove(fd)
    ours.close()
    theirs.close()
