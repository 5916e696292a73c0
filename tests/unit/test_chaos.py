"""What the chaos test sees: many clients against servers that misbehave, and what counts as a broken promise."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from loadtest.clients import load_clients
from loadtest.clients.load_clients import REQUEST, LoadClients, LoadTally
from loadtest.clients.policy_client import Tally
from loadtest.commands.chaos import broken
from loadtest.native import library
from loadtest.servers.test_environment import Clock

GOOD = b"action=450 4.7.1 version 5\n\n"
RETRY_S = 0.05
# Ends the connection instead of an answer, or after one.
ENDS, HANGS_UP = None, b""


class Misbehaving:
    """Answers each connection's requests by a list of its own, the rest well."""

    def __init__(self, path, *scripts):
        self.path = path
        self._scripts = list(scripts)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                script = self._scripts.pop(0) if self._scripts else []
                threading.Thread(target=self._serve, args=(connection, script), daemon=True).start()

    @staticmethod
    def _serve(connection, script):
        with contextlib.suppress(OSError), connection:
            for answer in script:
                if answer == HANGS_UP or not connection.recv(4096) or answer is ENDS:
                    return
                connection.sendall(answer)
            while connection.recv(4096):
                connection.sendall(GOOD)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def clients_saw(tmp_path, monkeypatch):
    """A function that lets `count` clients ask a server of those scripts until something is true; the tally. Clients
    try again, and rest, for less than Postfix does.
    """
    monkeypatch.setattr(load_clients, "POSTFIX", replace(load_clients.POSTFIX, retry_delay_s=RETRY_S))
    monkeypatch.setattr(load_clients, "REST_S", RETRY_S)
    servers = []

    def ask(*scripts, count=1, floor=5, until=lambda tally: tally.answered >= 100):
        servers.append(Misbehaving(tmp_path / "socket", *scripts))
        clients = LoadClients(tmp_path / "socket", REQUEST, count)
        clients.floor = floor
        clients.start()
        deadline_s = time.monotonic() + 15
        while not until(clients.tally) and clients.is_alive() and time.monotonic() < deadline_s:
            threading.Event().wait(0.01)
        return clients.finish()

    yield ask
    for server in servers:
        server.close()


def test_clients_that_are_served_well(clients_saw):
    """Those who rest and those who come anew each time included: everything answered, nothing held against anybody."""
    tally = clients_saw(count=10, until=lambda tally: tally.answered > 1000)
    assert (tally.sent, tally.lost, tally.asked_again, tally.closed_idle) == (tally.answered, 0, 0, 0)
    assert not tally.wrong
    assert 0 < tally.latency.total <= tally.answered


def test_a_connection_that_ends_in_use(clients_saw):
    """Asked again a moment later on another one, as PostfixClient does; nothing is lost."""
    tally = clients_saw([GOOD, ENDS])
    assert (tally.closed_in_use, tally.asked_again, tally.waited_s, tally.given_up, tally.lost) == (1, 1, RETRY_S, 0, 0)


def test_a_connection_that_ends_twice(clients_saw):
    """451: that request is lost, the next one is not."""
    tally = clients_saw([GOOD, ENDS], [ENDS])
    assert (tally.closed_in_use, tally.given_up, tally.lost) == (2, 1, 1)


def test_a_connection_that_ends_idle(clients_saw):
    """Of one who rests: held against the server when it happens, and paid for with the next request."""
    tally = clients_saw([], [GOOD, HANGS_UP], count=2, until=lambda tally: tally.asked_again and tally.waited_s)
    assert (tally.closed_idle, tally.closed_in_use, tally.asked_again, tally.lost) == (1, 0, 1, 0)


@pytest.mark.parametrize("reply", [GOOD + GOOD, b"action=DUNNO\n\n", b"action=450 4.7.1 version 5\n"])
def test_a_wrong_reply(clients_saw, reply):
    """Two at once, another action, half a reply."""
    assert clients_saw([GOOD, reply]).wrong[0] == repr(reply)


def test_an_outdated_reply(clients_saw):
    """One by a policy before the last finished reload."""
    assert clients_saw([b"action=450 4.7.1 version 4\n\n"] * 3).outdated == 3


def test_nobody_listens_any_more(clients_saw, tmp_path):
    """A connect that is refused is a failure of its own."""

    def end(tally):
        if tally.answered and (tmp_path / "socket").exists():
            (tmp_path / "socket").unlink()
        return tally.refused_connects

    assert clients_saw([GOOD] * 3 + [ENDS], until=end).refused_connects


@pytest.mark.parametrize(
    ("tally", "cost", "said", "word"),
    [
        (LoadTally(sent=2, answered=1), Tally(), "", "1 requests were never answered"),
        (LoadTally(), Tally(given_up=1), "", "1 requests were never answered"),
        (LoadTally(closed_in_use=1, closed_idle=2), Tally(), "", "3 connections closed, of smtpds 0"),
        (LoadTally(), Tally(asked_again=1), "", "0 connections closed, of smtpds 1"),
        (LoadTally(outdated=1), Tally(), "", "older than the last finished reload"),
        (LoadTally(wrong=["x"]), Tally(), "", "a wrong reply: x"),
        (LoadTally(refused_connects=1), Tally(), "", "1 connects were refused"),
        (LoadTally(), Tally(overlooked=1), "", "more in them than one action"),
        (LoadTally(), Tally(), 'level=warning event="worker died" how=x', "1 times worker died, and 0 were our doing"),
        (LoadTally(), Tally(), 'level=error event="worker hangs"', "1 times worker hangs, and 0 were our doing"),
        (LoadTally(), Tally(), "level=critical event=bug traceback=x", "a bug: level=critical"),
    ],
)
def test_a_broken_promise_is_named(tally, cost, said, word):
    """Each kind in words of its own; nothing of it where nothing happened."""
    actions = SimpleNamespace(done=Counter())
    assert word in next(broken(actions, tally, cost, said, 10))
    fine = LoadTally(sent=3, answered=3)
    fine.latency.record(9_000_000)
    assert not list(broken(actions, fine, Tally(sent=1, answered=1), "", 10))
    assert next(broken(actions, fine, Tally(), "", 1)).startswith("a request waited 9.0 s, and may wait 1 s")


def test_a_clock_that_is_set(tmp_path):
    """What a program takes for the time is ours to set while it runs; its monotonic clock is the machine's."""
    preload = library("clockshift")
    if preload is None:
        pytest.skip("no C compiler")
    clock = Clock(tmp_path / "shift", preload)
    script = "import sys, time\nfor line in sys.stdin: print(time.time(), time.monotonic(), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, **clock.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        for ahead_s in (0, 3600, -10 * 365 * 86400):
            clock.write(ahead_s)
            program.stdin.write("\n")
            program.stdin.flush()
            wall_s, monotonic_s = map(float, program.stdout.readline().split())
            assert abs(wall_s - time.time() - ahead_s) < 10
            assert abs(monotonic_s - time.monotonic()) < 10
