"""Accepting in a worker: a waiting client is accepted within a few turns of the loop, and siblings have their share."""

from __future__ import annotations

import contextlib
import socket

import gevent
import pytest
from gevent.event import Event

from forkpolicy.worker import accept
from forkpolicy.worker.accept import Acceptor, HandoverReceiver
from forkpolicy.worker.handover import HandoverChannel, Receipt, make_pair

COUNT = 120
# Where each came in a turn of its own it was as many turns as there are connections, or six times as many.
FEW_TURNS = COUNT // 3


def yes():
    return True


def no():
    return False


class Turns:
    """How often the loop has turned."""

    def __init__(self):
        self.count = 0
        self._watcher = gevent.get_hub().loop.prepare()
        self._watcher.start(self._turned)

    def _turned(self):
        self.count += 1

    def stop(self):
        self._watcher.stop()
        self._watcher.close()


@pytest.fixture
def turns():
    turns = Turns()
    yield turns
    turns.stop()


class Queue:
    """A listening socket with clients in its queue, and whom `take` let in; `all_in` when that are all of them."""

    def __init__(self, folder, count):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "policy"))
        self.listener.listen(count)
        self.listener.setblocking(False)
        self.clients = [socket.socket(socket.AF_UNIX) for _ in range(count)]
        for client in self.clients:
            client.connect(str(folder / "policy"))
        self.taken = []
        self.all_in = Event()

    def take(self, sock):
        self.taken.append(sock)
        if len(self.taken) == len(self.clients):
            self.all_in.set()

    def acceptor(self, above_share):
        return Acceptor(self.listener, self.take, above_share, yes, self.taken.append)

    def close(self):
        for sock in (self.listener, *self.clients, *self.taken):
            sock.close()


@pytest.fixture
def queue(tmp_path):
    queue = Queue(tmp_path, COUNT)
    yield queue
    queue.close()


@contextlib.contextmanager
def opened(*entrances):
    """Letting in meanwhile."""
    for each in entrances:
        each.start()
    try:
        yield
    finally:
        for each in entrances:
            each.stop()


@pytest.mark.parametrize("above_share", [no, yes], ids=["below-its-share", "siblings-do-not-come"])
def test_a_burst_is_let_in_within_a_few_turns(queue, turns, above_share):
    """However long a turn is: one new connection a turn starves the last of hundreds for seconds. Also where a sibling
    has fewer and does not come for them.
    """
    with opened(queue.acceptor(above_share)):
        assert queue.all_in.wait(10)
    assert turns.count < FEW_TURNS


def test_a_burst_leaves_others_their_turn(queue, turns, monkeypatch):
    """What is left when the time of a turn is over comes in the next."""
    monkeypatch.setattr(accept, "TURN_NS", 0)
    with opened(queue.acceptor(no)):
        assert queue.all_in.wait(10)
    assert turns.count >= COUNT - 1


def test_siblings_with_less_come_first(queue, monkeypatch):
    """A worker that has its share leaves what waits to one that has not."""
    monkeypatch.setattr(accept, "STEP_ASIDE_S", 60)
    monkeypatch.setattr(accept, "TURN_NS", 0)
    refused = []
    with opened(Acceptor(queue.listener, refused.append, yes, yes, refused.append), queue.acceptor(no)):
        assert queue.all_in.wait(10)
    assert not refused


def test_it_stops_at_its_share(queue):
    """In the middle of a turn: the rest is left to siblings for a moment, and taken when they do not come."""
    seen = []

    def above_share():
        if len(queue.taken) == COUNT // 2:
            seen.append(len(queue.taken))
        return len(queue.taken) >= COUNT // 2

    with opened(queue.acceptor(above_share)):
        assert queue.all_in.wait(10)
    assert len(seen) > 1


def test_what_siblings_give_away_is_taken_within_a_few_turns(turns):
    """Also by one that has more than others, if they do not come for it: each has a client that waits."""
    pair = make_pair()
    channel, receipt, taken, all_in = HandoverChannel(*pair), Receipt(), [], Event()

    def take():
        handover = channel.take()
        if handover:
            taken.append(handover.fd)
        if len(taken) == COUNT:
            all_in.set()
        return handover is not None

    ours, theirs = socket.socketpair()
    for _ in range(COUNT):
        assert channel.give(theirs.fileno(), b"", b"", receipt)
    with opened(HandoverReceiver(channel.fileno(), take, yes, yes)):
        assert all_in.wait(10)
    assert turns.count < FEW_TURNS
    for fd in taken:
        socket.close(fd)
    for end in (*pair, ours, theirs, receipt):
        end.close()


def test_without_room_it_waits(monkeypatch):
    """For a connection to end: nothing is taken, and the loop does not spin."""
    monkeypatch.setattr(accept, "BACK_OFF_S", 0.001)
    looks = []
    room = Event()

    def has_room():
        looks.append(1)
        return len(looks) > 2

    pair = make_pair()
    ours, theirs = socket.socketpair()
    channel, receipt = HandoverChannel(*pair), Receipt()
    assert channel.give(theirs.fileno(), b"", b"", receipt)
    taken = []

    def take():
        handover = channel.take()
        taken.extend([handover.fd] if handover else [])
        room.set()
        return False

    with opened(HandoverReceiver(channel.fileno(), take, no, has_room)):
        assert room.wait(10)
    assert len(looks) == 3
    for fd in taken:
        socket.close(fd)
    for end in (*pair, ours, theirs, receipt):
        end.close()
