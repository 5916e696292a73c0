"""One connection over a real socket: whatever arrives, exactly one reply a request, and no byte more."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import time

import gevent
import gevent.socket
import pytest
from gevent.event import Event

from forkpolicy.loading import load_everything
from forkpolicy.log import PRIORITY
from forkpolicy.log_formats import LineFormat
from forkpolicy.worker import connection as connection_module
from forkpolicy.worker.connection import MAX_READ_BYTES, REQUESTS_A_TURN, Connection
from forkpolicy.worker.engine import Engine
from forkpolicy.worker.readiness import Readiness
from forkpolicy.worker.reload import WorkerReload
from tests.turns import unread

POLICY = """
acl from_us sender @example.com
acl to_us recipient @example.com
acl watched helo_name watched.example
action prove_it REJECT 5.7.1 Authentication required to send as {sender_domain}
action note log seen {helo_name}
access watched note
access from_us to_us prove_it
"""
PASS, FORGED = b"action=DUNNO\n\n", b"action=REJECT 5.7.1 Authentication required to send as example.com\n\n"


def request(sender="a@example.com", **more):
    attributes = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "client_address": "203.0.113.5",
        "helo_name": "mail.example.org",
        "sender": sender,
        "recipient": "b@example.com",
        **more,
    }
    text = "".join(f"{name}={value}\n" for name, value in attributes.items())
    return f"{text}\n".encode("utf-8", "surrogateescape")


OTHER = request("x@elsewhere.example")
# For what comes within milliseconds, on a machine that has other things to do.
DEADLINE_S = 50.0


class Log:
    """Keeps what was logged."""

    def __init__(self):
        self.events, self.decisions = [], []

    def event(self, level, event, **fields):
        self.events.append((level, event, fields))

    def writer(self, level, event, fields, arguments):
        return LineFormat("json", PRIORITY[level], {"event": event, **fields}, arguments).writer(str, self.keep)

    def keep(self, line):
        self.decisions.append(json.loads(line))


def until(condition):
    """Let the loop turn until it is so."""
    with gevent.Timeout(DEADLINE_S):
        while not condition():
            gevent.sleep(0)


def socket_of(fd):
    """A socket of the server."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


class Peer:
    """The other end of a served connection. `raw` is the server's socket."""

    def __init__(self, folder, implementation, policy=POLICY, **limits):
        (folder / "policy.conf").write_text(policy)
        self.settings = folder / "forkpolicy.toml"
        self.settings.write_text('[log]\ndecisions = "acted"\n[state]\nlive = "live"\n')
        self.log = Log()
        self.engine = Engine(load_everything(self.settings), 1, self.log, implementation)
        self.reload = WorkerReload(self.engine)
        self.ours, theirs = gevent.socket.socketpair()
        self.raw = socket_of(theirs.detach())
        self.closed, self.over = [], Event()
        limits = {"idle_timeout_s": 60, "max_request_bytes": 65536, **limits}
        self.readiness = Readiness()
        self.connection = Connection(self.raw, self.engine, self.readiness, self.note_closed, **limits)
        self.connection.start()

    def note_closed(self, connection):
        self.closed.append(connection)
        self.over.set()

    def ask(self, *chunks, replies=1):
        """Send the chunks, each when the one before was read; read until that many replies are there."""
        for chunk in chunks:
            self.ours.sendall(chunk)
            until(self.heard)
        read, found = bytearray(), 0
        with gevent.Timeout(DEADLINE_S):
            while found < replies:
                data = self.ours.recv(65536)
                assert data, f"closed after {read!r}"
                # An end may have come in two pieces.
                seen = max(0, len(read) - 1)
                read += data
                found += read.count(b"\n\n", seen)
        return bytes(read)

    def heard(self):
        """Whether the server has read all that it was sent."""
        return self.connection.closed or not unread(self.raw)

    def stalled(self):
        """Whether the socket takes no more of what the server has to send before somebody reads it."""
        return bool(self.connection.unsent)

    def ended(self):
        """What is read until the connection ends."""
        read = b""
        with gevent.Timeout(DEADLINE_S):
            while data := self.ours.recv(65536):
                read += data
        return read


@pytest.fixture
def peer(tmp_path, implementation):
    peer = Peer(tmp_path, implementation)
    yield peer
    peer.connection.close()
    peer.ours.close()


def test_a_connection_serves_request_after_request(peer):
    """A thousand requests on one connection: each its verdict, nothing between them."""
    for _ in range(500):
        assert peer.ask(request()) == FORGED
        assert peer.ask(OTHER) == PASS
    assert peer.engine.counters.requests == peer.connection.requests == 1000
    assert peer.engine.serving.rule_hits()[1:3] == [500, 500]


@pytest.mark.parametrize("known", [False, True], ids=["first", "layout-learnt"])
@pytest.mark.parametrize(
    ("chunks", "replies"),
    [
        ([request()], FORGED),
        ([request()[at : at + 1] for at in range(len(request()))], FORGED),
        ([request() + OTHER], FORGED + PASS),
        ([request()[:40], request()[40:] + OTHER + request()[:7], request()[7:]], FORGED + PASS + FORGED),
        ([request(ccert_subject="x" * 3000)], FORGED),
        ([request("é\udce4@example.com")], FORGED),
        ([request().replace(b"\n", b"\r\n")], FORGED),
        ([request(future="1")], FORGED),
        ([request().replace(b"sender=", b"a line without equals\nsender=")], FORGED),
        ([request().replace(b"sender=", b"sender=first@elsewhere.example\nsender=")], FORGED),
        ([request("nul\x00@example.com")], FORGED),
    ],
    ids=[
        "whole",
        "bytewise",
        "two-at-once",
        "cut-anywhere",
        "3kB",
        "not-utf8",
        "crlf",
        "unknown",
        "no-equals",
        "twice",
        "nul",
    ],
)
def test_the_verdict_does_not_depend_on_how_it_arrives(peer, known, chunks, replies):
    """Split, joined, long, odd: the same replies in the same order, on a fresh connection and on a used one."""
    if known:
        assert peer.ask(OTHER) == PASS
    assert peer.ask(*chunks, replies=replies.count(b"\n\n")) == replies
    assert peer.ask(OTHER) == PASS
    assert not peer.closed


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "no line of the form"),
        (b"request=junk\nsender=x\n\n", "expected a line request=smtpd_access_policy"),
        (b"\n", "no line of the form"),
        (b"request=smtpd_access_policy\nsender=" + b"x" * 70_000 + b"\n\n", "more than 65536 bytes"),
    ],
    ids=["http", "other-request", "empty", "70kB"],
)
def test_what_is_no_request_ends_the_connection_and_is_told(peer, raw, told):
    """No reply, one log line with the first bytes; everything before it was answered."""
    assert peer.ask(request()) == FORGED
    peer.ours.sendall(raw)
    # Closing with unread bytes resets: the peer learns the same.
    with contextlib.suppress(ConnectionResetError):
        assert peer.ended() == b""
    ((_, event, fields),) = peer.log.events
    assert event == "invalid request"
    assert told in fields["reason"]
    assert raw.startswith(fields["first_bytes"].encode("latin-1"))
    assert peer.closed == [peer.connection]
    assert peer.engine.counters.protocol_errors == 1


def test_an_end_in_the_middle_of_a_request_is_only_an_end(peer):
    """Postfix gave up: nobody is answered, the connection is gone."""
    peer.ours.sendall(request()[:50])
    peer.ours.shutdown(socket.SHUT_WR)
    assert peer.ended() == b""


def numbered(number):
    """A request whose reply says which one it was."""
    return request(f"a@n{number}.example.com")


NUMBERED = POLICY.replace("sender @example.com", "sender .example.com")


@pytest.mark.parametrize("at_once", [False, True], ids=["one-by-one", "all-at-once"])
def test_a_reader_that_is_slow_gets_every_reply(tmp_path, implementation, at_once):
    """Replies that the socket does not take are kept, and the connection is not read meanwhile: however many requests
    come, each has its reply, in their order.
    """
    peer, count = Peer(tmp_path, implementation, policy=NUMBERED), 500
    peer.raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    requests = [numbered(number) for number in range(count)]
    if at_once:
        sender = gevent.spawn(peer.ours.sendall, b"".join(requests))
    else:
        # On the fast way, as long as it goes: each when the one before has its reply.
        sender = gevent.spawn(send_each_when_the_last_was_decided, peer, requests)
    until(peer.stalled)
    assert peer.engine.counters.requests < count
    replies = peer.ask(replies=count)
    sender.join()
    assert replies == b"".join(FORGED.replace(b"example", b"n%d.example" % number) for number in range(count))
    assert peer.connection.idle
    peer.connection.close()
    peer.ours.close()


def send_each_when_the_last_was_decided(peer, requests):
    for each in requests:
        peer.ours.sendall(each)
        until(lambda: peer.stalled() or peer.heard())


def test_a_flood_is_not_read_before_it_is_answered(peer):
    """What one client may have in our memory is one read, whatever it sends: after a full turn the rest waits in the
    kernel.
    """
    count, most, decide = 3 * MAX_READ_BYTES // len(request()), [], peer.engine.decide

    def measure(values):
        most.append(len(peer.connection.pending))
        return decide(values)

    peer.engine.decide = measure
    sender = gevent.spawn(peer.ours.sendall, request() * count)
    assert peer.ask(replies=count) == FORGED * count
    sender.join()
    assert len(most) == count
    assert max(most) <= MAX_READ_BYTES


def test_an_unsent_reply_comes_along(peer):
    """A client that does not read is handed over like any other; the next worker has the rest of its reply, and the
    requests that were read after it.
    """
    count = 500
    peer.raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    sender = gevent.spawn(peer.ours.sendall, request() * count)
    until(peer.stalled)
    assert peer.connection.unsent
    assert peer.connection.pending
    hand_over(peer)
    assert peer.ask(replies=count) == FORGED * count
    sender.join()


@pytest.fixture
def other(peer):
    """Another connection of the same worker, as the client sees it."""
    ours, theirs = gevent.socket.socketpair()
    connection = serve(peer, theirs.detach())
    yield ours
    connection.close()
    ours.close()


def serve(peer, fd, **more):
    """What a worker does that takes a connection."""
    peer.raw = socket_of(fd)
    limits = {"idle_timeout_s": 60, "max_request_bytes": 65536}
    connection = Connection(peer.raw, peer.engine, peer.readiness, peer.closed.append, **limits, **more)
    connection.start()
    return connection


def test_what_fills_a_read_is_not_the_last(tmp_path, implementation):
    """A request as long as one read, and another behind it: nothing else would say that there is more."""
    peer = Peer(tmp_path, implementation, max_request_bytes=len(request()))
    for _ in range(3):
        peer.ours.sendall(request() + request())
        assert peer.ask(request(), replies=3) == 3 * FORGED
    peer.connection.close()
    peer.ours.close()


def test_first_come_first_served(peer):
    """Requests of many connections that wait together are decided in the order in which they came."""
    count, order = 40, []
    decide, sender = peer.engine.decide, peer.engine.policy.wanted.index("sender")
    pairs = [gevent.socket.socketpair() for _ in range(count)]
    connections = [serve(peer, theirs.detach()) for _, theirs in pairs]

    def note(values):
        order.append(values[sender])
        return decide(values)

    peer.engine.decide = note
    sent = [f"n{number * 7 % count}@example.org" for number in range(count)]
    for sender_address in sent:
        pairs[int(sender_address.partition("@")[0][1:])][0].sendall(request(sender_address))
    with gevent.Timeout(DEADLINE_S):
        while len(order) < count:
            gevent.sleep(0)
    assert order == sent
    for connection, (ours, _) in zip(connections, pairs, strict=True):
        connection.close()
        ours.close()


def hand_over(peer):
    """What one worker has in hand of a connection goes to another Connection."""
    in_hand = {"unsent": peer.connection.unsent, "pending": peer.connection.pending}
    peer.connection = serve(peer, peer.connection.detach(), **in_hand)


def test_a_flood_leaves_others_their_turn(peer, other):
    """Hundreds of requests in one read: another's single request, sent after them, does not wait for all of them; and
    the time spent is counted once.
    """
    count, order = 300, []
    decide, wanted = peer.engine.decide, peer.engine.policy.wanted

    def note(values):
        order.append(values[wanted.index("sender")])
        return decide(values)

    peer.engine.decide = note
    started_ns = time.perf_counter_ns()
    peer.ours.sendall(request() * count)
    other.sendall(OTHER)
    assert peer.ask(replies=count) == FORGED * count
    assert other.recv(1000) == PASS
    assert peer.engine.counters.busy_ns < time.perf_counter_ns() - started_ns
    assert len(order) == count + 1
    assert order.index("x@elsewhere.example") <= 2 * REQUESTS_A_TURN
    assert peer.connection.idle


def test_a_flood_goes_on_in_another_worker(peer):
    """Requests that were read and not answered yet come along when the connection is given away."""
    count = 300
    peer.ours.sendall(request() * count)
    until(lambda: peer.connection.pending)
    assert peer.connection.pending.count(b"\n\n") > 100
    hand_over(peer)
    assert peer.ask(replies=count) == FORGED * count
    assert peer.ask(OTHER) == PASS


@pytest.mark.parametrize("stalled", [False, True], ids=["while-answering", "while-a-reply-waits"])
def test_a_client_that_has_gone_is_asked_no_more(peer, stalled):
    """Nobody reads the reply: the requests after it are not decided, and it is closed once."""
    count = 500
    if stalled:
        peer.raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        gevent.spawn(peer.ours.sendall, request() * count).join(0)
        until(peer.stalled)
    else:
        peer.ours.sendall(request() * 5)
    assert peer.connection.closed is False
    peer.ours.close()
    decided = peer.engine.counters.requests
    assert peer.over.wait(DEADLINE_S)
    peer.connection.close()
    assert peer.closed == [peer.connection]
    assert peer.connection.closed is True
    assert peer.engine.counters.requests == (decided if stalled else 1)


def test_whether_there_is_something_to_read(peer):
    """A request that was not read yet, and an end, be it a reset; nothing of it is taken away."""
    assert not peer.connection.readable
    peer.ours.sendall(request())
    assert peer.connection.readable
    assert peer.ask() == FORGED
    peer.ours.sendall(OTHER)
    until(peer.heard)
    # With a reply that was not read the kernel resets the connection: no end, but the end of it all the same.
    peer.ours.close()
    assert peer.connection.readable
    assert peer.over.wait(DEADLINE_S)
    assert peer.closed == [peer.connection]


@pytest.mark.parametrize("took_ns", [0, 1 << 20], ids=["short", "long"])
def test_what_a_request_takes_is_counted(peer, took_ns):
    """Two requests, the exact way and the usual one: each once, by its time, and the log says the same."""
    decide, counters = peer.engine.decide, peer.engine.counters

    def takes(values):
        until_ns = time.perf_counter_ns() + took_ns
        while time.perf_counter_ns() < until_ns:
            pass
        return decide(values)

    peer.engine.decide = takes
    started_ns = time.perf_counter_ns()
    for _ in range(2):
        assert peer.ask(request()) == FORGED
    assert 2 * took_ns < counters.busy_ns < time.perf_counter_ns() - started_ns
    linear = counters.take_linear_us()
    assert sum(count for _, count in linear) + len(counters.slow_ns) == counters.requests == 2
    if took_ns:
        assert sum(counters.slow_ns) == counters.busy_ns
    logged_us = [decision["us"] for decision in peer.log.decisions]
    assert len(logged_us) == 2
    assert 2 * took_ns // 1000 <= sum(logged_us) <= counters.busy_ns // 1000


def pass_s(peer, seconds):
    """So much time has passed since the last request."""
    peer.connection._turn.last_used_ns -= round(seconds * 1e9)


def test_an_idle_connection_ends(tmp_path, implementation):
    """After idle_timeout seconds without a request, not before, and a request in between counts."""
    peer = Peer(tmp_path, implementation, idle_timeout_s=6000)
    pass_s(peer, 5000)
    peer.connection._idle_check()
    assert peer.ask(OTHER) == PASS
    pass_s(peer, 5000)
    peer.connection._idle_check()
    assert not peer.closed
    pass_s(peer, 1000)
    peer.connection._idle_check()
    assert peer.closed == [peer.connection]
    assert peer.ended() == b""
    peer.ours.close()


def test_who_looks_for_idle_connections_looks_again(tmp_path, implementation, monkeypatch):
    """A timer of its own comes until the time is over, by a clock that is slower than it."""
    peer = Peer(tmp_path, implementation, idle_timeout_s=0.015)
    begun_ns, looks = peer.connection._turn.last_used_ns, []

    def clock():
        looks.append(len(looks))
        return begun_ns + len(looks) * 4_000_000

    monkeypatch.setattr(connection_module, "perf_counter_ns", clock)
    assert peer.ended() == b""
    assert peer.closed == [peer.connection]
    assert len(looks) > 3
    peer.ours.close()


def test_decisions_that_acted_are_logged(peer):
    """Action, line, client, sender, recipient, time; DUNNO is not logged; `log` lines note and go on."""
    peer.ask(request(sasl_username="x", queue_id="4F2"))
    peer.ask(OTHER)
    (decision,) = peer.log.decisions
    assert decision["action"] == "REJECT 5.7.1 Authentication required to send as example.com"
    assert decision["line"].endswith("policy.conf:8")
    assert decision["acls"] == "from_us to_us"
    assert (decision["client"], decision["sender"], decision["recipient"]) == (
        "203.0.113.5",
        "a@example.com",
        "b@example.com",
    )
    assert (decision["sasl_username"], decision["queue_id"]) == ("x", "4F2")
    assert 0 <= decision["us"] < 1_000_000
    assert peer.ask(request("x@elsewhere.example", helo_name="watched.example")) == PASS
    assert peer.log.decisions[1]["action"] == "seen watched.example"


def test_a_bug_in_one_request_is_answered_with_on_error(peer, monkeypatch):
    """Whatever raises, Postfix gets an answer, the log has the traceback, and later requests are served."""
    monkeypatch.setattr(peer.engine.policy, "reply", lambda *_: 1 / 0)
    assert peer.ask(request()) == b"action=DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable\n\n"
    assert "ZeroDivisionError" in peer.log.events[0][2]["traceback"]
    assert peer.ask(OTHER) == PASS


def test_who_has_waited_is_answered_at_once(peer):
    """A request that is there when a connection is taken, half of it in another worker before: it is answered without
    a turn of the loop, and so before the connection may be given away once more.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE_S)
    taken = [serve(peer, theirs.detach(), pending=request())]
    assert ours.recv(1000) == FORGED
    ours.sendall(OTHER)
    taken.append(serve(peer, taken[0].detach()))
    assert ours.recv(1000) == PASS
    taken[1].close()
    ours.close()


def test_a_connection_can_be_handed_over_in_the_middle_of_a_request(peer):
    """The descriptor and the bytes of the unfinished request go to another Connection; the client notices nothing."""
    peer.ask(OTHER)
    peer.ours.sendall(request()[:50])
    until(peer.heard)
    hand_over(peer)
    assert peer.ask(request()[50:]) == FORGED
    peer.connection.close()
    assert peer.closed == [peer.connection]


def test_a_new_generation_serves_connections_that_are_open(peer):
    """Prepare and commit swap the policy under a connection; a broken one is reported and leaves the old one."""
    assert peer.ask(request()) == FORGED
    policy = str(pathlib.Path(peer.settings).parent / "policy.conf")
    snapshot = dict(peer.engine.loaded.snapshot)
    assert "unknown statement" in peer.reload.prepare({**snapshot, policy: b"nonsense\n"})[0]
    assert peer.ask(request()) == FORGED
    lines = POLICY.replace("@example.com", "@elsewhere.example", 1).encode()
    assert peer.reload.prepare({**snapshot, policy: lines}) == []
    peer.reload.commit(2)
    assert peer.ask(request()) == PASS
    assert peer.ask(OTHER).startswith(b"action=REJECT")
    assert peer.engine.serving.number == 2


def test_a_reply_that_a_value_spoils_is_answered_with_on_error(tmp_path, implementation):
    """On both ways through the server: the settings' on_error, one line of log, and the next request is fine."""
    policy = "acl x protocol_state RCPT\naction y BCC {sasl_username}@example.com\naccess x y\n"
    peer = Peer(tmp_path, implementation, policy=policy)
    spoilt, fine = request(sasl_username="two words"), request(sasl_username="anna")
    on_error = b"action=DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable\n\n"
    for each, reply in ((spoilt, on_error), (spoilt, on_error), (fine, b"action=BCC anna@example.com\n\n")):
        assert peer.ask(each) == reply
    told = [(level, event, fields["reason"]) for level, event, fields in peer.log.events]
    assert told == [
        (
            "error",
            "evaluation failed",
            'action y: BCC takes one address: Postfix would take "words@example.com" for a part of it',
        )
    ]
    assert peer.engine.counters.errors == 2
    peer.connection.close()
    peer.ours.close()


def test_a_text_shows_the_id_of_its_decision(tmp_path, implementation):
    """`{code}` in a reply is what the log calls the decision; another decision has another one."""
    policy = "acl all client_address 0.0.0.0/0\naction no REJECT see {code}\naccess all no\n"
    peer = Peer(tmp_path, implementation, policy)
    replies = [peer.ask(request()).decode(), peer.ask(request()).decode()]
    logged = [each["id"] for each in peer.log.decisions]
    assert replies == [f"action=REJECT see {code}\n\n" for code in logged]
    assert len(set(logged)) == 2
    peer.connection.close()
    peer.ours.close()
