"""Changed keys on their way from workers to the state process."""

from __future__ import annotations

import struct

import pytest

from forkpolicy.state.changed_keys import make_pair, receive, send
from forkpolicy.state.keys import LONGEST_BYTES


@pytest.fixture
def pair():
    """The receiving and the sending end."""
    both = make_pair()
    yield both
    for sock in both:
        sock.close()


def all_of(receiving):
    """Everything that waits."""
    found = []
    while (keys := receive(receiving)) is not None:
        found += keys
    return found


def test_keys_arrive_whole(pair):
    """Of any bytes and any length, each once; what was sent does not wait any more."""
    receiving, sending = pair
    keys = {b"r\0busy\0%d\0" % number for number in range(3000)} | {b"\xff" * LONGEST_BYTES, b"x"}
    waiting = set(keys)
    send(sending, waiting)
    assert waiting == set()
    found = all_of(receiving)
    assert len(found) == len(keys)
    assert set(found) == keys


def test_what_does_not_fit_waits(pair):
    """Nothing blocks and nothing is lost: it is sent when there is room."""
    receiving, sending = pair
    keys = {b"%0500d" % number for number in range(20_000)}
    waiting = set(keys)
    send(sending, waiting)
    assert 0 < len(waiting) < len(keys)
    found = set()
    while waiting:
        found.update(all_of(receiving))
        send(sending, waiting)
    assert found | set(all_of(receiving)) == keys


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\0", b"\0\0", struct.pack(">H", 9) + b"short", struct.pack(">H", LONGEST_BYTES + 1) + b"x" * 600],
)
def test_garbage_is_left_out(pair, garbage):
    """A worker that was captured may send anything."""
    receiving, sending = pair
    sending.send(garbage)
    assert receive(receiving) == []
