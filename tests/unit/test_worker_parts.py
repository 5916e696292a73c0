"""A worker's decisions, without processes: what it gives away, when it is old, whom it admits, what it counts."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.loading import load_everything
from forkpolicy.scoreboard import BUCKETS, STAYING, Scoreboard, Slot, bucket_limit_ns, bucket_of, percentile_us
from forkpolicy.worker.allow import Allowed
from forkpolicy.worker.balance import BEATS_ABOVE, SETTLING_BEATS, Balance
from forkpolicy.worker.engine import Engine
from forkpolicy.worker.flusher import Flusher
from forkpolicy.worker.handover import (
    HANDOVER_VERSION,
    MAX_PENDING_BYTES,
    MAX_UNSENT_BYTES,
    HandoverChannel,
    Receipt,
    UnknownVersionError,
    make_pair,
)
from forkpolicy.worker.recycling import Recycling, resident_mib


class Held:
    def __init__(self, requests=0):
        self.requests = requests
        self.closed = False


class Workers:
    """A scoreboard of workers with (connections, load), and what the first one gives away."""

    def __init__(self, *shares):
        self.scoreboard = Scoreboard()
        for number, (count, load) in enumerate(shares):
            slot = self.scoreboard.slot(number)
            slot["serving"] = STAYING
            slot["pid"] = 1000 + number
            slot["connections"], slot["load"] = count, load
        self.given = []
        self.balance = Balance(self.scoreboard, self.scoreboard.slot(0), self.give)

    def give(self, connection, load, hot):
        self.given.append((connection, load, hot))
        connection.closed = True
        slot = self.scoreboard.slot(0)
        slot["connections"] = slot["connections"] - 1
        return True


def test_a_worker_alone_keeps_everything():
    """There is nobody to give to."""
    workers = Workers((500, 900_000))
    held = [Held() for _ in range(500)]
    workers.balance.beat(held)
    assert not workers.given
    assert not workers.balance.has_its_share()


def test_above_the_mean_the_idlest_connections_go():
    """As many as are above it, and those that carry nothing."""
    workers = Workers((30, 0), (10, 0))
    held = [Held() for _ in range(30)]
    workers.balance.beat(held)
    for each in held[:15]:
        each.requests += 5
    workers.given.clear()
    workers.scoreboard.slot(0)["connections"] = 30
    for each in held:
        each.closed = False
    workers.balance.beat(held)
    assert len(workers.given) == 10
    assert not any(each.requests for each, _, _ in workers.given)
    assert not any(hot for _, _, hot in workers.given)


def test_a_little_above_the_mean_is_even_enough():
    """One connection more than the mean moves nothing to and fro."""
    workers = Workers((9, 0), (8, 0))
    workers.balance.beat([Held() for _ in range(9)])
    assert not workers.given


def test_traffic_moves_and_then_settles():
    """The heaviest connections that fit into a lasting surplus go; then the numbers are given time to show it."""
    workers = Workers((4, 400_000), (4, 0))
    held = [Held() for _ in range(4)]
    workers.balance.beat(held)
    for _ in range(BEATS_ABOVE):
        assert not workers.given
        for each, count in zip(held, (40, 30, 20, 10), strict=True):
            each.requests += count
        workers.balance.beat(held)
    assert [(each.requests // BEATS_ABOVE, load, hot) for each, load, hot in workers.given] == [
        (40, 160_000, True),
        (10, 40_000, True),
    ]
    workers.given.clear()
    for _ in range(SETTLING_BEATS):
        workers.scoreboard.slot(0)["load"] = 400_000
        left = [each for each in held if not each.closed]
        for each in left:
            each.requests += 10
        workers.balance.beat(left)
        assert not [each for each in workers.given if each[2]]


def test_one_heavy_connection_stays_where_it_is():
    """To move it would only move the trouble."""
    workers = Workers((2, 300_000), (2, 0))
    held = [Held(), Held()]
    for _ in range(5):
        workers.balance.beat(held)
        held[0].requests += 100
        held[1].requests += 1
    assert not workers.given


def test_of_two_heavy_connections_one_moves():
    """Each is a little more than the surplus: moving one helps, moving light ones does not."""
    workers = Workers((10, 310_000), (10, 0))
    held = [Held() for _ in range(10)]
    for _ in range(1 + BEATS_ABOVE):
        workers.balance.beat(held)
        for number, each in enumerate(held):
            each.requests += 150 if number == 0 else 160 if number == 1 else 1
    workers.balance.beat(held)
    assert [each for each, _, hot in workers.given if hot] in ([held[0]], [held[1]])


def test_a_quiet_server_moves_nothing():
    """Below half a percent of a core nothing is worth it."""
    workers = Workers((2, 4_000), (2, 0))
    held = [Held(), Held()]
    workers.balance.beat(held)
    held[0].requests += 3
    held[1].requests += 3
    workers.balance.beat(held)
    assert not workers.given


def test_who_has_fewest_takes_what_is_given():
    """Where all have as many, nobody leaves it to the others."""
    assert not Workers((5, 0), (5, 0)).balance.has_its_connections()
    assert Workers((6, 0), (5, 0)).balance.has_its_connections()
    assert Workers((5, 9), (5, 1)).balance.has_its_load()
    assert not Workers((5, 1), (5, 9)).balance.has_its_load()


def test_a_connection_goes_through_the_exchange_with_its_bytes():
    """The descriptor works on the other side; what is left of a reply and was read of a request comes along, and its
    load.
    """
    pair = make_pair()
    channel, receipt = HandoverChannel(*pair), Receipt()
    ours, theirs = socket.socketpair()
    assert channel.give(theirs.fileno(), b"NNO\n\n", b"request=smtpd", receipt, 77)
    theirs.close()
    receipt.close()
    handover = channel.take()
    assert (handover.unsent, handover.pending, handover.load) == (b"NNO\n\n", b"request=smtpd", 77)
    with socket.socket(fileno=handover.fd) as taken, ours:
        ours.sendall(b"ping")
        assert taken.recv(10) == b"ping"
    assert channel.take() is None
    for end in pair:
        end.close()


def test_a_message_of_another_version_is_put_back_as_it_is():
    """A worker of the release that sent it finds the same bytes and an open descriptor; ours keeps none."""
    giving, taking = make_pair()
    ours, theirs = socket.socketpair()
    message = bytes([HANDOVER_VERSION + 1]) + b"in a form of its own"
    receipt = Receipt()
    socket.send_fds(giving, [message], [theirs.fileno(), receipt.fd])
    theirs.close()
    receipt.give_no_more()
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(UnknownVersionError, match=str(HANDOVER_VERSION + 1)):
        HandoverChannel(giving, taking).take()
    assert set(Path("/proc/self/fd").iterdir()) == before
    assert receipt.outstanding
    found, (fd, end), _, _ = socket.recv_fds(taking, 100, 2)
    os.close(end)
    assert not receipt.outstanding
    receipt.close()
    assert found == message
    with socket.socket(fileno=fd) as again, ours:
        ours.sendall(b"ping")
        assert again.recv(10) == b"ping"
    giving.close()
    taking.close()


def test_a_full_exchange_or_a_long_request_stays():
    """The giver goes on serving it; what fits is passed whole; and who leaves knows when everything was taken."""
    pair = make_pair()
    channel, receipt = HandoverChannel(*pair), Receipt()
    ours, theirs = socket.socketpair()
    assert not channel.fits(b"", b"x" * (MAX_PENDING_BYTES + 1))
    assert not channel.fits(b"x" * (MAX_UNSENT_BYTES + 1), b"")
    longest = b"u" * MAX_UNSENT_BYTES, b"p" * MAX_PENDING_BYTES
    assert channel.fits(*longest)
    taken = 0
    while channel.give(theirs.fileno(), *longest, receipt):
        taken += 1
    assert taken > 1
    receipt.give_no_more()
    while (handover := channel.take()) is not None:
        assert (handover.unsent, handover.pending) == longest
        os.close(handover.fd)
        taken -= 1
        assert receipt.outstanding == (taken > 0)
    assert taken == 0
    receipt.close()
    for end in (*pair, ours, theirs):
        end.close()


def test_age():
    """Neither limit by default; siblings are spread; a memory limit below the need counts from the need."""
    never = SimpleNamespace(max_requests=0, max_memory=0)
    assert Recycling(0).reason_to_retire(never, 10**12) == ""
    often = SimpleNamespace(max_requests=1000, max_memory=0)
    assert Recycling(0).reason_to_retire(often, 1000) == ""
    assert "1001 requests" in Recycling(0).reason_to_retire(often, 1001)
    assert Recycling(5).reason_to_retire(often, 1001) == ""
    assert Recycling(0).reason_to_retire(SimpleNamespace(max_requests=0, max_memory=1), 0) == ""
    assert resident_mib() > 5


@pytest.mark.parametrize(
    ("networks", "peer", "admitted"),
    [
        (("127.0.0.0/8",), "127.0.0.1", True),
        (("127.0.0.2",), "127.0.0.1", False),
        (("::1",), "127.0.0.1", False),
        (("127.0.0.0/8",), "::ffff:127.0.0.1", True),
        (("fe80::/10",), "fe80::1%lo", True),
        ((), "127.0.0.1", False),
    ],
)
def test_who_is_admitted(networks, peer, admitted):
    """By network, mapped addresses as IPv4, zones dropped."""
    sock = SimpleNamespace(family=socket.AF_INET6, getpeername=lambda: (peer, 25, 0, 0))
    assert Allowed(networks).admits(sock) is admitted


def test_unix_peers_are_admitted_by_the_socket_file():
    """Its mode says who."""
    assert Allowed(()).admits(SimpleNamespace(family=socket.AF_UNIX))


@given(st.integers(0, 10**11))
def test_buckets_hold_what_they_say(ns):
    """Every time is below its bucket's limit and not below that of the bucket before, within the range."""
    bucket = bucket_of(ns)
    assert 0 <= bucket < BUCKETS
    if bucket < BUCKETS - 1:
        assert ns < bucket_limit_ns(bucket)
    if bucket:
        assert ns >= bucket_limit_ns(bucket - 1)


def test_percentiles():
    """Of a hundred times, the 99th; nothing of nothing."""
    latency = [0] * BUCKETS
    assert percentile_us(latency, 0.99) == 0
    latency[bucket_of(10_000)] = 99
    latency[bucket_of(1_000_000)] = 1
    assert 10 < percentile_us(latency, 0.99) < 12
    assert 1000 < percentile_us(latency, 1.0) < 1150


def test_the_scoreboard_is_shared_and_a_slot_outlives_its_worker():
    """What a child writes, the parent reads; the next worker in the slot counts on."""
    scoreboard = Scoreboard()
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            slot = scoreboard.slot(3)
            slot.add("requests", 5)
            slot.add_action("REJECT", 2)
            slot.add_latencies([(7, 1)])
            slot.set_line_hits([4, 1])
            os._exit(0)
        os.waitpid(pid, 0)
    seen = scoreboard.slot(3).read()
    assert (seen.counters.requests, seen.actions["REJECT"], seen.latency[7]) == (10, 4, 2)
    assert seen.line_hits == (4, 1)
    assert not scoreboard.shares()
    scoreboard.slot(3)["serving"] = STAYING
    assert scoreboard.any_stays()


def test_who_sees_requests_counted_sees_what_they_were_answered(tmp_path):
    """A page of metrics may be read between any two numbers: the requests come last, when all of theirs are there."""
    (tmp_path / "policy.conf").write_text("action default REJECT\n")
    (tmp_path / "forkpolicy.toml").write_text("")
    engine = Engine(load_everything(tmp_path / "forkpolicy.toml"), 1, SimpleNamespace())
    slot = Scoreboard().slot(0)
    words, seen = slot._words, []

    class Watched:
        def __getitem__(self, at):
            return words[at]

        def __setitem__(self, at, value):
            words[at] = value
            now = slot_of(words).read()
            seen.append((now.counters.requests, now.actions["REJECT"], sum(now.latency), sum(now.line_hits)))

    flusher = Flusher(engine, slot_of(Watched()))
    engine.policy.outcomes[0].hits = 30  # the end of the policy
    for _ in range(30):
        engine.counters.add(5000)
    flusher.flush()
    assert seen[-1] == (30, 30, 30, 30)
    assert all(replies == times == hits == 30 for requests, replies, times, hits in seen if requests)


def slot_of(words):
    return Slot(0, words)
