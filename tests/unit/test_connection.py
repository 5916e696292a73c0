"""One connection over a real socket: whatever arrives, exactly one reply a request, and no byte more."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import time

import gevent
import gevent.socket
import pytest

from forkpolicy.loading import load_everything
from forkpolicy.worker.connection import REQUESTS_A_TURN, Connection
from forkpolicy.worker.serving import Serving

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


class Log:
    """Keeps what was logged."""

    def __init__(self):
        self.events, self.decisions = [], []

    def event(self, level, event, **fields):
        self.events.append((level, event, fields))

    def decision(self, **fields):
        self.decisions.append(fields)


class Peer:
    """The other end of a served connection."""

    def __init__(self, folder, **limits):
        (folder / "policy.conf").write_text(POLICY)
        self.settings = folder / "forkpolicy.toml"
        self.settings.write_text('[log]\ndecisions = "acted"\n')
        self.log = Log()
        self.serving = Serving(load_everything(self.settings), 1, self.log)
        self.ours, theirs = gevent.socket.socketpair()
        raw = socket.socket(fileno=theirs.detach())
        raw.setblocking(False)
        self.closed = []
        limits = {"idle_timeout_s": 60, "max_request_bytes": 65536, **limits}
        self.connection = Connection(raw, self.serving, self.closed.append, **limits)
        self.connection.start()

    def ask(self, *chunks, replies=1):
        """Send the chunks, read until that many replies are there."""
        for chunk in chunks:
            self.ours.sendall(chunk)
            gevent.sleep(0)
        read, found = bytearray(), 0
        with gevent.Timeout(5):
            while found < replies:
                data = self.ours.recv(65536)
                assert data, f"closed after {read!r}"
                # An end may have come in two pieces.
                seen = max(0, len(read) - 1)
                read += data
                found += read.count(b"\n\n", seen)
        return bytes(read)

    def ended(self):
        """What is read until the connection ends."""
        read = b""
        with gevent.Timeout(5):
            while data := self.ours.recv(65536):
                read += data
        return read


@pytest.fixture
def peer(tmp_path):
    peer = Peer(tmp_path)
    yield peer
    peer.connection.close()
    peer.ours.close()


def test_a_connection_serves_request_after_request(peer):
    """A thousand requests on one connection: each its verdict, nothing between them."""
    for _ in range(500):
        assert peer.ask(request()) == FORGED
        assert peer.ask(OTHER) == PASS
    assert peer.serving.counters.requests == 1000
    assert peer.serving.line_hits()[1:3] == [500, 500]


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
    assert event == "no policy request"
    assert told in fields["reason"]
    assert raw.startswith(fields["first_bytes"].encode("latin-1"))
    assert peer.closed == [peer.connection]


def test_an_end_in_the_middle_of_a_request_is_only_an_end(peer):
    """Postfix gave up: nobody is answered, the connection is gone."""
    peer.ours.sendall(request()[:50])
    peer.ours.shutdown(socket.SHUT_WR)
    assert peer.ended() == b""


def test_a_reader_that_is_slow_gets_every_reply(peer):
    """Replies that the socket does not take are kept; the connection is not read meanwhile, and nothing is lost."""
    count = 30_000
    sender = gevent.spawn(peer.ours.sendall, request() * count)
    gevent.sleep(0.05)
    assert not sender.ready()
    assert peer.ask(replies=count) == FORGED * count
    sender.join()
    assert peer.connection.idle


@pytest.fixture
def other(peer):
    """Another connection of the same worker, as the client sees it."""
    ours, theirs = gevent.socket.socketpair()
    connection = serve(peer, theirs.detach())
    yield ours
    connection.close()
    ours.close()


def serve(peer, fd, pending=b""):
    raw = socket.socket(fileno=fd)
    raw.setblocking(False)
    connection = Connection(
        raw, peer.serving, peer.closed.append, idle_timeout_s=60, max_request_bytes=65536, pending=pending
    )
    connection.start()
    return connection


def test_a_flood_leaves_others_their_turn(peer, other):
    """Hundreds of requests in one read: another's single request, sent after them, does not wait for all of them; and
    the time spent is counted once.
    """
    count, order = 300, []
    decide, wanted = peer.serving.decide, peer.serving.policy.wanted

    def note(values):
        order.append(values[wanted.index("sender")])
        return decide(values)

    peer.serving.decide = note
    started_ns = time.perf_counter_ns()
    peer.ours.sendall(request() * count)
    other.sendall(OTHER)
    assert peer.ask(replies=count) == FORGED * count
    assert other.recv(1000) == PASS
    assert peer.serving.counters.busy_ns < time.perf_counter_ns() - started_ns
    assert len(order) == count + 1
    assert order.index("x@elsewhere.example") <= 2 * REQUESTS_A_TURN
    assert peer.connection.idle


def test_a_flood_goes_on_in_another_worker(peer):
    """Requests that were read and not answered yet come along when the connection is given away."""
    count = 300
    peer.ours.sendall(request() * count)
    while not peer.connection.pending:
        gevent.sleep(0)
    fd, pending = peer.connection.detach()
    assert pending.count(b"\n\n") > 100
    peer.connection = serve(peer, fd, pending)
    assert peer.ask(replies=count) == FORGED * count
    assert peer.ask(OTHER) == PASS


def test_an_idle_connection_ends(tmp_path):
    """After idle_timeout seconds without a request, not before, and a request in between counts."""
    peer = Peer(tmp_path, idle_timeout_s=0.2)
    gevent.sleep(0.15)
    assert peer.ask(OTHER) == PASS
    gevent.sleep(0.1)
    assert not peer.closed
    assert peer.ended() == b""
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
    monkeypatch.setattr(peer.serving.policy, "reply", lambda *_: 1 / 0)
    assert peer.ask(request()) == b"action=DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable\n\n"
    assert "ZeroDivisionError" in peer.log.events[0][2]["traceback"]
    assert peer.ask(OTHER) == PASS


def test_who_has_waited_is_answered_at_once(peer):
    """A request that is there when a connection is taken, half of it in another worker before: it is answered without
    a turn of the loop, and so before the connection may be given away once more.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    taken = [serve(peer, theirs.detach(), request())]
    assert ours.recv(1000) == FORGED
    ours.sendall(OTHER)
    taken.append(serve(peer, taken[0].detach()[0]))
    assert ours.recv(1000) == PASS
    taken[1].close()
    ours.close()


def test_a_connection_can_be_handed_over_in_the_middle_of_a_request(peer):
    """The descriptor and the bytes of the unfinished request go to another Connection; the client notices nothing."""
    peer.ask(OTHER)
    peer.ours.sendall(request()[:50])
    gevent.sleep(0.01)
    fd, pending = peer.connection.detach()
    raw = socket.socket(fileno=fd)
    closed = []
    taken = Connection(raw, peer.serving, closed.append, idle_timeout_s=60, max_request_bytes=65536, pending=pending)
    taken.start()
    assert peer.ask(request()[50:]) == FORGED
    taken.close()
    assert closed == [taken]


def test_a_new_generation_serves_connections_that_are_open(peer):
    """Prepare and commit swap the policy under a connection; a broken one is told and leaves the old one."""
    assert peer.ask(request()) == FORGED
    policy = str(pathlib.Path(peer.settings).parent / "policy.conf")
    snapshot = dict(peer.serving.loaded.snapshot)
    assert "unknown statement" in peer.serving.prepare({**snapshot, policy: b"nonsense\n"})[0]
    assert peer.ask(request()) == FORGED
    lines = POLICY.replace("@example.com", "@elsewhere.example", 1).encode()
    assert peer.serving.prepare({**snapshot, policy: lines}) == []
    peer.serving.commit(2)
    assert peer.ask(request()) == PASS
    assert peer.ask(OTHER).startswith(b"action=REJECT")
    assert peer.serving.describe()["generation"] == 2
