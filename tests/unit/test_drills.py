"""The parts of fire drills: who waits, what goes wrong, and whether the replies were right."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import threading

import pytest

from loadtest.clients.waiting_clients import WaitingClients
from loadtest.commands.drills import Outcome, table
from loadtest.servers.engine import Engine
from loadtest.traffic import asking
from loadtest.traffic.asking import FAILED, LIMIT, LISTED, PASSED, SLOW, Answered


class HeldServer:
    """Reads requests and sends no reply before `release`, then `reply` to each."""

    def __init__(self, path, reply):
        self.reply, self.released = reply, threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def release(self):
        self.released.set()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            while connection.recv(65536):
                self.released.wait()
                connection.sendall(self.reply)


@pytest.fixture
def held(tmp_path):
    """A function: a server with that reply, and clients of it."""
    with contextlib.ExitStack() as stack:

        def make(reply, count=5):
            server = stack.enter_context(contextlib.closing(HeldServer(tmp_path / "policy", reply)))
            clients = stack.enter_context(contextlib.closing(WaitingClients(tmp_path / "policy", count, 0.01)))
            return server, clients

        yield make


def questions():
    return asking.look_ups(asking.numbers(), is_known=False)


def test_all_wait_until_the_server_answers(held):
    """`all_wait` returns once each of them has asked; `end` with the reply of each."""
    server, clients = held(b"action=DUNNO\n\n")
    clients.begin(questions())
    assert clients.all_wait(10)
    assert clients.waiting == 5
    threading.Timer(0.05, server.release).start()
    answered = clients.end()
    assert len({each.asked.request for each in answered}) == len(answered) >= 5
    assert all(each.action == PASSED and each.asked_s <= each.answered_s for each in answered)
    assert clients.waiting == 0
    assert (clients.failures, clients.tally.sent, clients.tally.answered) == ([], len(answered), len(answered))


def test_fewer_may_wait_than_should(held):
    """Then `all_wait` says so."""
    server, clients = held(b"action=DUNNO\n\n")
    clients.count += 1
    clients.begin(questions())
    assert not clients.all_wait(0.1)
    server.release()
    clients.end()


def test_a_reply_that_comes_twice_is_counted(held):
    """Postfix would take the first, and the connection for lost later."""
    server, clients = held(b"action=DUNNO\n\naction=DUNNO\n\n", count=1)
    clients.pace_s = 60
    clients.begin(questions())
    assert clients.all_wait(10)
    server.release()
    assert len(clients.end()) == clients.tally.overlooked == 1


def test_what_a_list_has_is_the_right_reply():
    """Odd clients are listed, as long as the list is to be believed."""
    known = list(itertools.islice(asking.look_ups(asking.numbers(), is_known=True), 4))
    assert [set(each.right) for each in known] == [{LISTED}, {PASSED}] * 2
    replies = [Answered(each, 0, 0, LISTED) for each in known]
    assert list(asking.wrong_replies(replies)) == [
        f"198.18.0.{number}: 'REJECT 5.7.1 Listed' instead of DUNNO" for number in (2, 4)
    ]
    assert asking.queried_name(258) == "2.1.18.198.list.example"


def replies(*actions, login="user1@example.com"):
    """One after the other, a second each."""
    asked = asking.messages(login, asking.numbers(), may_fail=True)
    return [Answered(each, at, at + 0.5, action) for at, (each, action) in enumerate(zip(asked, actions, strict=False))]


@pytest.mark.parametrize(
    ("actions", "lives", "wrong"),
    [
        ([PASSED] * LIMIT + [SLOW] * 3, 1, ""),
        ([PASSED] * (LIMIT - 1), 1, ""),
        ([PASSED] * (LIMIT + 1), 1, f"{LIMIT + 1} passed"),
        ([PASSED] * (LIMIT - 1) + [SLOW], 1, "there was room in every window"),
        ([PASSED] * (LIMIT - 5) + [FAILED] * 5 + [SLOW], 1, ""),
        ([PASSED] * (LIMIT - 5) + [FAILED] * 4 + [SLOW], 1, "some counted twice"),
        ([PASSED] * LIMIT + [FAILED] + [PASSED] * LIMIT + [SLOW], 2, ""),
        ([PASSED] * LIMIT + [FAILED] + [PASSED] * (LIMIT + 1), 2, f"{2 * LIMIT + 1} passed, and {2 * LIMIT} may"),
    ],
)
def test_what_a_limit_may_do(actions, lives, wrong):
    """Exactly its limit; what failed may have counted, but only once; an engine that comes back empty begins anew."""
    found = list(asking.wrong_counts(replies(*actions), lives))
    assert any(wrong in each for each in found) if wrong else found == []


def test_logins_are_judged_one_by_one():
    """What one has passed is not another's."""
    both = [*replies(*[PASSED] * LIMIT), *replies(*[PASSED] * LIMIT, login="user2@example.com")]
    assert list(asking.wrong_counts(both)) == []


@pytest.mark.parametrize(("ratio", "more_ms", "is_even"), [(1.1, 9, True), (5, 1.5, True), (1.5, 3, False)])
def test_what_others_may_notice(ratio, more_ms, is_even):
    """A fifth more, or two milliseconds."""
    outcome = Outcome("late", ratio=ratio, more_ms=more_ms, broken=["x"] * 9, replies={"DUNNO": 3})
    assert outcome.is_even is is_even
    said = "\n".join(table([outcome]))
    assert ("   yes" in said, "   no" in said) == (is_even, not is_even)
    assert "late: 3 DUNNO\n" in said
    assert said.endswith("and 4 more")


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed (tests/servers.sh)")
def test_an_engine_stops_goes_on_and_comes_back_empty(tmp_path):
    """It answers, stands still with the connection open, answers then; after the start it has nothing."""
    with Engine(tmp_path / "engine") as engine, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(engine.socket_path))
        client.sendall(b"SET a 1\r\n")
        assert client.recv(100) == b"+OK\r\n"
        engine.stop()
        client.sendall(b"GET a\r\n")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(100)
        engine.go_on()
        client.settimeout(10)
        assert client.recv(100) == b"$1\r\n1\r\n"
        engine.kill()
        assert client.recv(100) == b""
        engine.start()
        with socket.socket(socket.AF_UNIX) as again:
            again.settimeout(10)
            again.connect(str(engine.socket_path))
            again.sendall(b"GET a\r\n")
            assert again.recv(100) == b"$-1\r\n"
