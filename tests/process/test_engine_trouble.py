"""Servers that ask one engine, under load and when it is away: a limit is exact in sum, every request is answered once,
and those that ask nothing do not wait.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

import pytest

from loadtest.clients.policy_client import LostReplyError, PolicyClient, connected
from loadtest.servers.pausing import pause
from tests.process.conftest import request
from tests.process.test_engine import engine, sharing  # noqa: F401 - fixtures
from tests.process.test_state import COUNTING, SLOW, message, passed
from tests.process.waiting import eventually
from tests.redis_servers import needs_redis

pytestmark = needs_redis
FAILED = "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"
# Another sender asks nothing.
CAREFUL = COUNTING.replace("acl busy", "acl counted sender @example.com\nacl busy").replace(
    "access busy", "access counted busy"
)
NOTHING_ASKED = request("x@elsewhere.example")
THREADS, EACH, LIMIT = 8, 250, 700


class Waiter:
    """One connection whose reply may come late."""

    def __init__(self, server):
        self._socket = connected(str(server.socket_path), 30.0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, raw):
        self._socket.sendall(raw)

    def receive(self):
        read = b""
        while not read.endswith(b"\n\n"):
            more = self._socket.recv(4096)
            assert more, read
            read += more
        return read.decode().removeprefix("action=").removesuffix("\n\n")


def waiting(server):
    """How many requests wait."""
    return sum(worker["counters"]["waiting"] for worker in server.status()["workers"])


def asked_at_once(servers, each=EACH, most_errors=0):
    """Replies to `each` messages of one sender from each of many connections; how often each reply came."""
    replies, errors = Counter(), []

    def ask(number):
        try:
            with PolicyClient(servers[number % len(servers)].socket_path) as client:
                for at in range(each):
                    replies[client.ask(message(number * each + at))] += 1
        except (OSError, LostReplyError) as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) <= most_errors, errors
    return replies


def test_a_limit_is_exact_in_sum(sharing):  # noqa: F811
    """Two servers with two workers each, eight connections at once."""
    policy = COUNTING.replace("5/1h", f"{LIMIT}/1h")
    replies = asked_at_once([sharing("one", policy), sharing("other", policy)])
    assert replies == {"DUNNO": LIMIT, SLOW: THREADS * EACH - LIMIT}


@pytest.mark.parametrize(("fail", "reply"), [("", FAILED), (" fail=skip", "DUNNO")], ids=["error", "skip"])
def test_an_engine_that_is_away_is_what_the_acl_says(sharing, engine, fail, reply):  # noqa: F811
    """Killed, then there again and empty: nothing is counted twice, and each change is a line for each worker."""
    server = sharing("one", CAREFUL.replace("5/1h", "5/1h" + fail))
    assert passed(server, range(3)) == 3
    engine.stop()
    with PolicyClient(server.socket_path) as client:
        assert [client.ask(message(number)) for number in range(10, 14)] == [reply] * 4
        assert client.ask(NOTHING_ASKED) == "DUNNO"
    eventually(lambda: server.said().count('event="engine down"') == 2)
    engine.start()
    eventually(lambda: server.said().count('event="engine up"') == 2)
    assert passed(server, range(20, 27)) == 5
    assert server.said().count('event="engine down"') == 2


def test_an_engine_that_stands_still_holds_up_nobody_else(sharing, engine):  # noqa: F811
    """One that goes on in time is waited for; a reload and requests that ask nothing are done meanwhile."""
    server = sharing("one", CAREFUL, state="timeout = 20\nbudget = 20")
    assert passed(server, range(3)) == 3
    pause(engine.process.pid)
    with Waiter(server) as waiter, PolicyClient(server.socket_path) as other:
        waiter.send(message(10))
        eventually(lambda: waiting(server) == 1)
        assert other.ask(NOTHING_ASKED) == "DUNNO"
        assert server.command("reload").returncode == 0
        os.kill(engine.process.pid, signal.SIGCONT)
        assert waiter.receive() == "DUNNO"
    assert passed(server, range(11, 14)) == 1


def test_a_server_that_stops_answers_who_waits(sharing, engine):  # noqa: F811
    """By its on_error, since the engine says nothing."""
    server = sharing("one", CAREFUL, state="timeout = 20\nbudget = 20")
    assert passed(server, range(3)) == 3
    pause(engine.process.pid)
    with Waiter(server) as waiter:
        waiter.send(message(10))
        eventually(lambda: waiting(server) == 1)
        server.stop()
        assert waiter.receive() == FAILED
    os.kill(engine.process.pid, signal.SIGCONT)


def test_never_more_than_the_limit_pass(sharing):  # noqa: F811
    """While a worker is killed, others come, and the policy is loaded again."""
    policy = COUNTING.replace("5/1h", f"{LIMIT}/1h")
    server = sharing("one", policy)
    trouble = threading.Thread(target=make_trouble, args=(server,))
    trouble.start()
    # The connections of a killed worker end.
    replies = asked_at_once([server], most_errors=THREADS)
    trouble.join()
    assert 0 < replies["DUNNO"] <= LIMIT
    assert set(replies) <= {"DUNNO", SLOW}
    # What a killed worker had asked and not answered may have counted.
    assert LIMIT - THREADS <= replies["DUNNO"] + passed(server, range(10**6, 10**6 + LIMIT)) <= LIMIT


def make_trouble(server):
    os.kill(server.worker_pids()[0], signal.SIGKILL)
    server.command("scale", "4")
    server.command("reload")
