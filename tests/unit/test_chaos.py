"""What the chaos test sees: a crowd against servers that misbehave, and what counts as a broken promise."""

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

from loadtest.clients import load_clients as crowd_module
from loadtest.clients.load_clients import REQUEST, CrowdTally, LoadClients
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
def crowd_of(tmp_path, monkeypatch):
    """A function that lets `count` clients ask a server of those scripts until something is true; the tally. Clients
    try again, and rest, for less than Postfix does.
    """
    monkeypatch.setattr(crowd_module, "POSTFIX", replace(crowd_module.POSTFIX, retry_delay_s=RETRY_S))
    monkeypatch.setattr(crowd_module, "REST_S", RETRY_S)
    servers = []

    def ask(*scripts, count=1, floor=5, until=lambda tally: tally.answered >= 100):
        servers.append(Misbehaving(tmp_path / "socket", *scripts))
        crowd = LoadClients(tmp_path / "socket", REQUEST, count)
        crowd.floor = floor
        crowd.start()
        deadline_s = time.monotonic() + 15
        while not until(crowd.tally) and crowd.is_alive() and time.monotonic() < deadline_s:
            threading.Event().wait(0.01)
        return crowd.finish()

    yield ask
    for server in servers:
        server.close()


def test_a_crowd_that_is_served_well(crowd_of):
    """Those who rest and those who come anew each time included: everything answered, nothing held against anybody."""
    tally = crowd_of(count=10, until=lambda tally: tally.answered > 1000)
    assert (tally.sent, tally.lost, tally.asked_again, tally.closed_idle) == (tally.answered, 0, 0, 0)
    assert not tally.wrong
    assert 0 < tally.latency.total <= tally.answered


def test_a_connection_that_ends_in_use(crowd_of):
    """Asked again a moment later on another one, as PostfixClient does; nothing is lost."""
    tally = crowd_of([GOOD, ENDS])
    assert (tally.closed_in_use, tally.asked_again, tally.waited_s, tally.given_up, tally.lost) == (1, 1, RETRY_S, 0, 0)


def test_a_connection_that_ends_twice(crowd_of):
    """451: that request is lost, the next one is not."""
    tally = crowd_of([GOOD, ENDS], [ENDS])
    assert (tally.closed_in_use, tally.given_up, tally.lost) == (2, 1, 1)


def test_a_connection_that_ends_idle(crowd_of):
    """Of one who rests: held against the server when it happens, and paid for with the next request."""
    tally = crowd_of([], [GOOD, HANGS_UP], count=2, until=lambda tally: tally.asked_again and tally.waited_s)
    assert (tally.closed_idle, tally.closed_in_use, tally.asked_again, tally.lost) == (1, 0, 1, 0)


@pytest.mark.parametrize("reply", [GOOD + GOOD, b"action=DUNNO\n\n", b"action=450 4.7.1 version 5\n"])
def test_a_wrong_reply(crowd_of, reply):
    """Two at once, another action, half a reply."""
    assert crowd_of([GOOD, reply]).wrong[0] == repr(reply)


def test_an_outdated_reply(crowd_of):
    """One by a policy before the last finished reload."""
    assert crowd_of([b"action=450 4.7.1 version 4\n\n"] * 3).outdated == 3


def test_nobody_listens_any_more(crowd_of, tmp_path):
    """A connect that is refused is a failure of its own."""

    def end(tally):
        if tally.answered and (tmp_path / "socket").exists():
            (tmp_path / "socket").unlink()
        return tally.refused_connects

    assert crowd_of([GOOD] * 3 + [ENDS], until=end).refused_connects


@pytest.mark.parametrize(
    ("tally", "cost", "said", "word"),
    [
        (CrowdTally(sent=2, answered=1), Tally(), "", "1 requests were never answered"),
        (CrowdTally(), Tally(given_up=1), "", "1 requests were never answered"),
        (CrowdTally(closed_in_use=1, closed_idle=2), Tally(), "", "3 connections closed, of smtpds 0"),
        (CrowdTally(), Tally(asked_again=1), "", "0 connections closed, of smtpds 1"),
        (CrowdTally(outdated=1), Tally(), "", "older than the last finished reload"),
        (CrowdTally(wrong=["x"]), Tally(), "", "a wrong reply: x"),
        (CrowdTally(refused_connects=1), Tally(), "", "1 connects were refused"),
        (CrowdTally(), Tally(overlooked=1), "", "more in them than one action"),
        (CrowdTally(), Tally(), 'level=warning event="worker died" how=x', "1 times worker died, and 0 were our doing"),
        (CrowdTally(), Tally(), 'level=error event="worker hangs"', "1 times worker hangs, and 0 were our doing"),
        (CrowdTally(), Tally(), "level=critical event=bug traceback=x", "a bug: level=critical"),
    ],
)
def test_a_broken_promise_is_named(tally, cost, said, word):
    """Each kind in words of its own; nothing of it where nothing happened."""
    happenings = SimpleNamespace(done=Counter())
    assert word in next(broken(happenings, tally, cost, said, 10))
    fine = CrowdTally(sent=3, answered=3)
    fine.latency.record(9_000_000)
    assert not list(broken(happenings, fine, Tally(sent=1, answered=1), "", 10))
    assert next(broken(happenings, fine, Tally(), "", 1)).startswith("a request waited 8.9 s, and may wait 1 s")


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
