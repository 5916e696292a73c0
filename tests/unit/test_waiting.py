"""Requests that wait for an answer: parked without a greenlet, in order, asked and counted once, never for too long."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import gevent
import pytest

from forkpolicy.errors import StateError
from forkpolicy.policy.answers import MustWait
from forkpolicy.scoreboard import Scoreboard
from forkpolicy.state import keys
from forkpolicy.state.memory import MemoryStore
from forkpolicy.worker import shutdown, waiting
from forkpolicy.worker.flusher import Flusher
from forkpolicy.worker.handover import Receipt
from forkpolicy.worker.implementation import CHOSEN, PYTHON
from forkpolicy.worker.waiting import Parked
from tests.unit.test_connection import OTHER, PASS, Connection, Peer, request, socket_of, until

POLICY = """
acl from_us sender @example.com
acl busy rate {client_address} 2/1h
acl trapped listed traps {client_address}
acl stranger helo_name stranger.example
action slow 450 4.7.1 slow down, {match.busy} s
action no REJECT no
action trap remember traps {client_address} 1h
action note log seen {sender}
access stranger trap
access stranger note
access from_us trapped no
access from_us busy slow
"""
# 17 slots of 225 s: what was counted in the current one goes with its end.
SLOW = b"action=450 4.7.1 slow down, 3725 s\n\n"
FAILED = b"action=DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable\n\n"


class LateStore:
    """A store that answers when the test says so, in the order of the questions."""

    def __init__(self):
        self.memory = MemoryStore(lambda: 1000.0)
        self.asked, self.told = [], []

    def ask(self, _question):
        raise MustWait

    def begin(self, question, raw, done):
        self.asked.append((question, raw, done))

    def tell(self, question, _lost):
        self.told.append(question)
        self.memory.ask(question)

    def answer(self, error=None):
        """Answer the oldest question."""
        question, _, done = self.asked.pop(0)
        done(error or self.memory.ask(question))


class Waiter(Peer):
    """A connection whose store is late. `more()` opens another one to the same worker."""

    def __init__(self, folder, implementation, policy=POLICY, state="", **limits):
        super().__init__(folder, implementation, policy, **limits)
        self.settings.write_text(f"{self.settings.read_text()}{state}\n")
        self.store = self.engine.store.remote = LateStore()
        self.engine._use_store = lambda _loaded: None
        self.commit(policy)

    def commit(self, policy):
        """Reload."""
        (self.settings.parent / "policy.conf").write_text(policy)
        files = ("policy.conf", "forkpolicy.toml")
        snapshot = {str(self.settings.parent / name): (self.settings.parent / name).read_bytes() for name in files}
        assert not self.reload.prepare(snapshot)
        self.reload.commit(self.engine.serving.number + 1)

    def send(self, raw):
        """Send, and let it be read."""
        self.ours.sendall(raw)
        until(self.heard)

    def read(self):
        with gevent.Timeout(20):
            return self.ours.recv(65536)

    @property
    def silent(self):
        """Whether no reply is there."""
        gevent.sleep(0.005)
        self.ours.setblocking(False)
        try:
            return not self.ours.recv(65536)
        except BlockingIOError:
            return True
        finally:
            self.ours.setblocking(True)


@pytest.fixture(params=[PYTHON, CHOSEN], ids=["python", "chosen"])
def peer(request, tmp_path):
    made = Waiter(tmp_path, request.param)
    yield made
    made.ours.close()
    made.connection.close()


def another(peer):
    """Another connection of the same worker: the client's socket, and the server's side."""
    ours, theirs = gevent.socket.socketpair()
    limits = {"idle_timeout_s": 60, "max_request_bytes": 65536}
    connection = Connection(socket_of(theirs.detach()), peer.engine, peer.readiness, lambda _: None, **limits)
    connection.start()
    return ours, connection


def ask(peer, raw, answers):
    """Ask, answer that many questions, and read the reply."""
    peer.send(raw)
    for _ in range(answers):
        until(lambda: peer.store.asked)
        peer.store.answer()
    return peer.read()


def records(store):
    return sorted(keys.show(key).kind for key, _ in store.memory.walk(b"", b"", 100))


def test_a_request_waits_for_each_of_its_answers_and_counts_once(peer):
    """Decided again with each answer: the third message of an hour is one too many, whatever was asked again."""
    replies = [ask(peer, request(instance=f"i{number}"), 2) for number in range(3)]
    assert replies == [PASS, PASS, SLOW]
    assert records(peer.store) == ["instance", "instance", "rate"]
    assert peer.engine.counters.requests == 3
    assert not len(peer.engine.waiting)


def test_a_request_that_asks_nothing_does_not_wait(peer):
    """No question is raised by a rule whose first ACL does not hold."""
    assert peer.ask(OTHER) == PASS
    assert not peer.store.asked


def test_a_request_that_waits_keeps_none_before_it_alive(peer):
    """Each begins where the one before it was answered; its exception must not have that one's frames."""
    # What earlier tests have left.
    gc.collect()
    peer.send(b"".join(request(instance=f"i{number}") for number in range(20)))
    for _ in range(2 * 19):
        until(lambda: peer.store.asked)
        peer.store.answer()
    assert sum(isinstance(each, Parked) for each in gc.get_objects()) < 5


def test_requests_of_one_connection_keep_their_order(peer):
    """What comes while one waits is answered after it; nothing of it is asked before."""
    peer.send(request(instance="a") + OTHER + request(instance="b"))
    assert peer.silent
    assert len(peer.store.asked) == 1
    peer.store.answer()
    peer.store.answer()
    assert peer.read() == PASS + PASS
    assert len(peer.store.asked) == 1
    peer.ours.sendall(OTHER)
    assert peer.silent
    peer.store.answer()
    peer.store.answer()
    read = b""
    while len(read) < 2 * len(PASS):
        read += peer.read()
    assert read == PASS + PASS


def test_others_are_served_meanwhile(peer):
    """Another connection of the worker is answered while one waits."""
    other, connection = another(peer)
    peer.send(request(instance="a"))
    other.sendall(OTHER)
    with gevent.Timeout(20):
        assert other.recv(1000) == PASS
    assert peer.silent
    peer.store.answer()
    peer.store.answer()
    assert peer.read() == PASS
    connection.close()
    other.close()


def test_a_store_that_fails_later_fails(peer):
    """The same as one that fails at once: `on_error`, and the reason is logged."""
    peer.send(request())
    peer.store.answer(StateError("the engine is gone"))
    assert peer.read() == FAILED
    assert any("the engine is gone" in str(event) for event in peer.log.events)


def test_fail_skip_makes_it_unknown(tmp_path):
    """Of an ACL that says so."""
    peer = Waiter(tmp_path, CHOSEN, POLICY.replace("2/1h", "2/1h fail=skip").replace("access from_us trapped no\n", ""))
    peer.send(request())
    peer.store.answer(StateError("gone"))
    assert peer.read() == PASS


def test_nothing_waits_longer_than_the_budget(tmp_path):
    """For everything together; an answer that comes later changes nothing."""
    peer = Waiter(tmp_path, CHOSEN, state="budget = 0.2")
    peer.send(request(instance="a"))
    (_, _, late) = peer.store.asked[0]
    assert peer.read() == FAILED
    late(peer.store.memory.ask(peer.store.asked.pop()[0]))
    assert peer.silent
    assert peer.connection.idle
    assert ask(peer, request(instance="b"), 2) == PASS
    assert any(event == "waited too long" for _, event, _ in peer.log.events)


def test_many_that_have_waited_too_long_are_decided_a_few_a_turn(tmp_path, monkeypatch):
    """What else is ready comes in between."""
    monkeypatch.setattr(waiting, "EXPIRED_A_TURN", 2)
    peer = Waiter(tmp_path, CHOSEN, state="budget = 0.2")
    others = [another(peer) for _ in range(7)]
    for number, (ours, _) in enumerate(others):
        ours.sendall(request(instance=f"i{number}"))
    until(lambda: len(peer.engine.waiting) == 7)
    left, expire = [], peer.engine.waiting._expire_due

    def watched():
        before = len(peer.engine.waiting)
        expire()
        left.append(before - len(peer.engine.waiting))

    peer.engine.waiting._expire_due = watched
    peer.engine.waiting._wake_at(peer.engine.waiting._due_ns)
    until(lambda: not len(peer.engine.waiting))
    assert max(left) == 2
    assert sum(left) == 7
    for ours, connection in others:
        assert ours.recv(1000) == FAILED
        connection.close()
        ours.close()


def test_one_acl_may_fill_half_of_the_places(tmp_path):
    """What comes above it fails at once, and others may still ask."""
    peer = Waiter(tmp_path, CHOSEN, state="max_waiting = 2")
    others = [another(peer) for _ in range(3)]
    for number, (ours, _) in enumerate(others):
        ours.sendall(request(instance=f"i{number}"))
    until(lambda: peer.engine.counters.requests == 2)
    assert len(peer.engine.waiting) == 1
    assert [event for _, event, _ in peer.log.events].count("too many wait") == 1
    peer.store.answer()
    peer.store.answer()
    until(lambda: not len(peer.engine.waiting))
    for ours, connection in others:
        connection.close()
        ours.close()


def test_a_client_that_goes_meanwhile_ends_when_the_answer_comes(peer):
    """Nobody spins on its end, and the answer harms nothing."""
    peer.send(request())
    calls = []
    poll = peer.readiness._epoll.poll
    peer.ours.close()
    until(lambda: peer.connection._heard)
    before = peer.engine.counters.requests
    for _ in range(50):
        gevent.sleep(0)
        calls.append(len(poll(0, 8)))
    assert sum(calls) <= 1
    peer.store.answer()
    peer.store.answer()
    until(lambda: peer.connection.closed)
    assert peer.engine.counters.requests == before + 1


def test_a_connection_that_is_closed_by_us_forgets_its_request(peer):
    """Its answer finds nobody."""
    peer.send(request())
    peer.connection.close()
    assert not len(peer.engine.waiting)
    peer.store.answer()
    assert not peer.store.asked


def test_a_parked_connection_is_not_idle(peer):
    """It is neither idle nor given away, and its silence does not end it."""
    peer.send(request())
    assert peer.connection.waits
    assert not peer.connection.idle
    with pytest.raises(AssertionError):
        peer.connection.detach()
    peer.connection._idle_timeout_s = 0.0001
    peer.connection._idle_check()
    assert not peer.connection.closed
    peer.store.answer()
    peer.store.answer()
    assert peer.read() == PASS


def test_the_policy_that_began_a_request_ends_it(peer):
    """A reload meanwhile: the old policy decides, its hits are counted, and it asks nothing twice."""
    slot = Scoreboard().slot(0)
    flusher = Flusher(peer.engine, slot)
    for number in range(2):
        assert ask(peer, request(instance=f"i{number}"), 2) == PASS
    peer.send(request(instance="i2"))
    peer.store.answer()
    flusher.flush()
    peer.commit("action default REJECT new\n")
    flusher.flush()
    assert peer.silent
    peer.store.answer()
    assert peer.read() == SLOW
    assert peer.ask(OTHER) == b"action=REJECT new\n\n"
    flusher.flush()
    seen = slot.read()
    assert (seen.actions["4xx"], seen.actions["DUNNO"], seen.actions["REJECT"]) == (1, 2, 1)
    assert seen.counters.requests == 4


def test_tables_stay_open_for_a_request_that_waits(tmp_path, peer):
    """Those that only the previous generation has are closed with the last request that may ask them."""
    closed = []
    generation = peer.engine.serving
    peer.send(request(instance="a"))
    peer.commit("action default REJECT new\n")
    peer.engine.waiting.when_done(generation, lambda: closed.append(1))
    assert not closed
    peer.store.answer()
    peer.store.answer()
    assert closed == [1]
    peer.engine.waiting.when_done(generation, lambda: closed.append(2))
    assert closed == [1, 2]


def test_given_up_requests_are_decided_with_what_is_known(peer):
    """A worker that may wait no longer fails what is still asked, and every request is replied to."""
    peer.send(request())
    peer.engine.waiting.give_up()
    assert peer.read() == FAILED
    assert not len(peer.engine.waiting)


class Leaving:
    """What a worker that retires holds: one connection, given away once it does not wait."""

    def __init__(self, connection):
        self.held, self.receipt = {connection}, Receipt()

    def give_all(self):
        self.held = {each for each in self.held if each.waits}


def test_a_client_that_asks_again_at_once_keeps_no_worker(peer, monkeypatch):
    """It goes with its reply: a worker that retires does not read its next request, which might wait again."""
    monkeypatch.setattr(shutdown, "setproctitle", lambda _title: None)
    peer.send(request())
    leaving, slot = Leaving(peer.connection), type("Slot", (dict,), {"number": 0})(serving=1)
    end = shutdown.Shutdown(leaving, peer.engine.waiting, [], [], SimpleNamespace(any_stays=lambda: True), slot)
    retiring = gevent.spawn(end.retire)
    gevent.sleep(0)
    peer.store.answer()
    peer.store.answer()
    peer.ours.sendall(request())
    until(lambda: peer.store.asked or not leaving.held)
    assert not peer.store.asked
    retiring.join(20)
    assert end.done.is_set()
    leaving.receipt.close()


def test_notes_and_deeds_of_a_request_that_waits_happen_once(peer):
    """However often it is decided."""
    assert ask(peer, request(helo_name="stranger.example"), 1) == b"action=REJECT no\n\n"
    assert len(peer.store.told) == 1
    hits = {outcome.rule.action.name: outcome.hits for outcome in peer.engine.policy.outcomes}
    assert (hits["trap"], hits["note"]) == (1, 1)


def test_waiting_is_not_work(peer):
    """The time that a request waits is none that its worker was busy; its own duration has it."""
    peer.send(request())
    gevent.sleep(0.05)
    peer.store.answer()
    peer.store.answer()
    assert peer.read() == PASS
    counters = peer.engine.counters
    assert counters.waited_ns > 50e6
    assert counters.busy_ns < 30e6
    assert counters.slow_ns
    assert counters.slow_ns[0] > 50e6


def test_a_shadow_compares_what_waited(tmp_path):
    """Once, when it is decided, with the answers that the real policy got."""
    (tmp_path / "candidate.conf").write_text(POLICY.replace("450 4.7.1", "550"))
    peer = Waiter(tmp_path, CHOSEN)
    peer.settings.write_text('shadow = "candidate.conf"\n' + peer.settings.read_text())
    (tmp_path / "policy.conf").write_text(POLICY)
    files = ("policy.conf", "forkpolicy.toml", "candidate.conf")
    snapshot = {str(tmp_path / name): (tmp_path / name).read_bytes() for name in files}
    assert not peer.reload.prepare(snapshot)
    peer.reload.commit(3)
    for number in range(3):
        ask(peer, request(instance=f"i{number}"), 2)
    counts = peer.engine.serving.describe().shadow
    assert (counts.compared, counts.differs, counts.not_compared) == (3, 1, 0)


def test_a_sample_asks_nothing(peer):
    """It looks at a request that waits as at any other."""
    peer.engine.sample_next()
    assert ask(peer, request(), 2) == PASS
    assert peer.engine.serving.sampling.sampled == 1
    assert records(peer.store) == ["rate"]


def test_a_bug_in_one_decision_leaves_the_others_theirs(peer, monkeypatch):
    """Postfix gets `on_error`, and the log the traceback."""
    peer.send(request())
    generation = peer.engine.serving
    monkeypatch.setattr(generation, "decide", lambda _: 1 / 0)
    peer.store.answer()
    assert peer.read() == FAILED
    assert any(event == "bug" for _, event, _ in peer.log.events)
