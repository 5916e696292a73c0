"""The generator: every reply compared, rounds on the same connections, and whose fault a latency is."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections import Counter

import pytest

from loadtest.clients import generator
from loadtest.servers.echo import echo_server
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import PASSED, REFUSED, Day

ONE = [(Day(load_profile("bench", transactions=1)).requests()[0][0], PASSED)]
# When a generator is stopped, and when it goes on.
STOPPED = ((0.1, signal.SIGSTOP), (0.3, signal.SIGCONT))


class Lingering(threading.Thread):
    """A server that replies to one request after the other, each after `wait_s`, and counts those of each client."""

    def __init__(self, path, wait_s):
        super().__init__(daemon=True)
        self.path, self._wait_s = path, wait_s
        self.asked = Counter()
        self._ending = threading.Event()
        self._poll = select.epoll()
        self._sockets = {}
        self._listener = self._add(socket.socket(socket.AF_UNIX))
        self._listener.bind(str(path))
        self._listener.listen()

    def run(self):
        while not self._ending.is_set():
            for fd, _ in self._poll.poll(0.1):
                if fd == self._listener.fileno():
                    self._add(self._listener.accept()[0])
                elif self._sockets[fd].recv(65536):
                    self.asked[fd] += 1
                    self._ending.wait(self._wait_s)
                    self._sockets[fd].send(PASSED)
                else:
                    self._poll.unregister(fd)

    def end(self):
        self._ending.set()
        self.join()
        for each in (self._poll, *self._sockets.values()):
            each.close()

    def _add(self, sock):
        self._sockets[sock.fileno()] = sock
        self._poll.register(sock, select.EPOLLIN)
        return sock


@pytest.fixture
def lingering(tmp_path):
    """Start such a server, which waits so many seconds."""
    started = []

    def start(wait_s):
        started.append(Lingering(tmp_path / str(len(started)), wait_s))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.mark.parametrize("native", [True, False])
def test_a_generator_compares_every_reply(tmp_path, monkeypatch, native):
    """A server that passes everything has as many wrong verdicts as refusals were due; the first one is shown."""
    if not native:
        monkeypatch.setattr(generator, "program", lambda _: None)
    requests = Day(load_profile("bench", transactions=20)).requests()
    refusals = sum(right == REFUSED for _, right in requests)
    with echo_server(tmp_path / "echo", native=False):
        load = generator.run(tmp_path / "echo", requests, connections=2, seconds=0.1)
        good = generator.run(tmp_path / "echo", [(requests[0][0], PASSED)], connections=2, seconds=0.1)
    assert load.replies > len(requests)
    assert load.wrong == pytest.approx(load.replies * refusals / len(requests), rel=0.2)
    trouble = load.trouble(requests)
    assert trouble.startswith(f"{load.wrong} wrong verdicts and 0 lost replies of {load.replies}; the first wrong one")
    assert f"b'action=DUNNO\\n\\n' instead of {REFUSED!r}" in trouble
    assert good.replies
    assert not good.trouble(requests)


@pytest.mark.parametrize("never_sleep", [False, True])
@pytest.mark.parametrize("native", [True, False])
def test_rounds_follow_each_other_on_the_same_connections(tmp_path, monkeypatch, native, never_sleep):
    """Each round counts its own replies, whether the generator sleeps or not, in closed and in open loop."""
    if not native:
        monkeypatch.setattr(generator, "program", lambda _: None)
    path = tmp_path / "echo"
    with (
        echo_server(path, native=False),
        generator.connected(path, ONE, connections=2, never_sleep=never_sleep) as source,
    ):
        loads = [source.round(0.1)]
        # Without its name, nobody can connect again.
        path.unlink()
        loads += [source.round(0.1, 200.0), source.round(0.1)]
    assert not any(load.trouble(ONE) for load in loads)
    assert 0 < loads[1].replies <= 20
    assert min(loads[0].replies, loads[2].replies) >= 2
    assert all(load.latency.total == load.replies for load in loads)


def test_a_slow_server_does_not_make_the_generator_late(lingering, monkeypatch):
    """In C and in Python: what waits for a free connection waits for the server, and all of it counts as latency."""
    for compiled in (generator.program, lambda _: None):
        monkeypatch.setattr(generator, "program", compiled)
        load = generator.run(lingering(0.02).path, ONE, connections=1, seconds=0.3, rate=100.0)
        # 30 fall due in 0.3 s and take 20 ms each: the last one, due at 0.29 s, has its reply at 0.6 s.
        assert load.replies == load.latency.total == load.lag.total == 30
        assert load.latency.highest() >= 290_000
        assert load.lag.percentile(50) < 10_000


def test_a_late_generator_is_reported_as_late(lingering):
    """Stopped for a fifth of a second, it sends what fell due meanwhile late, and says so."""
    if generator.program("generate") is None:
        pytest.skip("needs a compiler: the generator in Python is this process")
    with generator.connected(lingering(0.0).path, ONE, connections=8) as source:
        timers = [threading.Timer(at_s, os.kill, (source.pid, signum)) for at_s, signum in STOPPED]
        for timer in timers:
            timer.start()
        load = source.round(0.5, 100.0)
        for timer in timers:
            timer.join()
    assert load.lag.total == load.replies == 50
    assert load.lag.highest() >= 150_000
    assert load.latency.highest() >= load.lag.highest()


def test_every_connection_is_used_at_a_low_rate(lingering, monkeypatch):
    """The one that has been idle longest sends next: a server meets as many clients as there are."""
    for compiled in (generator.program, lambda _: None):
        monkeypatch.setattr(generator, "program", compiled)
        server = lingering(0.0)
        assert generator.run(server.path, ONE, connections=8, seconds=0.2, rate=80.0).replies == 16
        assert sorted(server.asked.values()) == [2] * 8
