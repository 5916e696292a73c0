"""Load on a policy socket without locust: many connections, one request in flight on each, every reply checked.

In C where there is a compiler, else the same in Python. Closed loop (as fast as it goes) or open loop (requests fall
due at a rate, and latency counts from then, so that a stalled server cannot hide its stall). A request comes with what
the right reply to it begins with; each SERIAL in it becomes what no other request has. Raises SetupError where the
server cannot be reached or the generator ends early.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import socket
import struct
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from loadtest.errors import SetupError
from loadtest.measure.histogram import Histogram
from loadtest.native import program
from loadtest.traffic.mail import SERIAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# How long an answer may take when the time is over, before it is lost: peers with long lists need seconds.
GRACE_S = 60.0

DIGITS = "0123456789abcdefghijklmnopqrstuv"

Requests = Sequence[tuple[bytes, bytes]]


@dataclass(slots=True)
class Load:
    """What came of one run."""

    replies: int = 0
    wrong: int = 0
    lost: int = 0
    seconds: float = 0.0
    latency: Histogram = field(default_factory=Histogram)
    # Open loop: how late requests were sent although a connection was free. That is the generator, and not the server.
    lag: Histogram = field(default_factory=Histogram)
    # The first wrong reply: the request's number among the requests, and what came.
    first_wrong: tuple[int, bytes] | None = None

    @property
    def rate(self) -> float:
        """Replies a second."""
        return self.replies / self.seconds if self.seconds else 0.0

    def trouble(self, requests: Requests) -> str:
        """What was not right, in one line; empty when everything was."""
        if not self.wrong and not self.lost:
            return ""
        words = f"{self.wrong} wrong verdicts and {self.lost} lost replies of {self.replies + self.lost}"
        if self.first_wrong:
            number, reply = self.first_wrong
            asked = dict(line.partition("=")[::2] for line in requests[number][0].decode(errors="replace").split("\n"))
            named = " ".join(
                f"{name}={asked[name]}" for name in ("client_address", "sender", "recipient", "sasl_username")
            )
            words += f"; the first wrong one, to {named}: {reply!r} instead of {requests[number][1]!r}"
        return words


class Generator(Protocol):
    """A generator that is connected to a server. `pid`: the process that does its work."""

    pid: int

    def round(self, seconds: float, rate: float = 0.0) -> Load:
        """Send requests, over and over, and wait for the last reply; `rate` 0 is closed loop."""


@contextlib.contextmanager
def connected(
    path: str | Path, requests: Requests, *, connections: int, never_sleep: bool = False
) -> Iterator[Generator]:
    """A generator for any number of rounds on the same connections.

    One that never sleeps keeps a core busy during a round. Otherwise a slow server finds it asleep and pays for waking
    it with each reply, which a fast one does not: CPU per request is then compared with unequal work.
    """
    native = program("generate")
    if native is None:
        python = _Python(path, requests, connections, never_sleep=never_sleep)
        with contextlib.closing(python):
            yield python
        return
    with tempfile.NamedTemporaryFile() as file:
        for text, right in requests:
            file.write(struct.pack("<IB", len(text), len(right)) + right + text)
        file.flush()
        words = [str(native), str(path), file.name, str(connections), *(["never-sleep"] if never_sleep else [])]
        with contextlib.closing(_Native(path, words)) as generator:
            yield generator


def run(path: str | Path, requests: Requests, *, connections: int, seconds: float, rate: float = 0.0) -> Load:
    """One round on new connections."""
    with connected(path, requests, connections=connections) as generator:
        return generator.round(seconds, rate)


class _Native:
    """native/generate.c: a line in starts a round, a line out is what came of it."""

    def __init__(self, path: str | Path, words: Sequence[str]) -> None:
        self._path = path
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.pid = self._process.pid

    def round(self, seconds: float, rate: float = 0.0) -> Load:
        process = self._process
        assert process.stdin
        assert process.stdout
        assert process.stderr
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"{seconds} {rate}\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise SetupError(f"no load on {self._path}: {process.stderr.read().strip()}")
        return _load(json.loads(line))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _load(result: dict[str, Any]) -> Load:
    latency, lag = (_histogram(result.pop(name)) for name in ("latency_us", "lag_us"))
    if "first_wrong" in result:
        number, reply = result["first_wrong"]
        result["first_wrong"] = number, bytes.fromhex(reply)
    return Load(latency=latency, lag=lag, **result)


def _histogram(counts: dict[str, int]) -> Histogram:
    found = Histogram()
    for us, count in counts.items():
        found.record(int(us), count)
    return found


class _Python:
    """The same as native/generate.c, for machines without a compiler."""

    def __init__(self, path: str | Path, requests: Requests, connections: int, *, never_sleep: bool) -> None:
        self.pid = os.getpid()
        self._requests, self._next = requests, 0
        self._serial = int(time.time() * 1e6)
        self._longest_wait_s = 0.0 if never_sleep else 0.1
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._waiting: dict[int, tuple[float, int]] = {}
        self._load = Load()
        for _ in range(connections):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(path))
            connection.setblocking(False)
            self._sockets[connection.fileno()] = connection
            self._epoll.register(connection, select.EPOLLIN)
        # The one that has been idle longest sends next.
        self._idle = deque(self._sockets)
        self._idle_since_s = 0.0

    def round(self, seconds: float, rate: float = 0.0) -> Load:
        self._load = Load()
        start = now = time.monotonic()
        end, sent, to_send = start + seconds, 0, math.ceil(seconds * rate)
        # In an open loop also what fell due in time and found no free connection then.
        while now < end or ((self._waiting or (self._idle and sent < to_send)) and now < end + GRACE_S):
            wait_s = self._longest_wait_s
            while self._idle and not rate and now < end:
                self._send(self._idle.popleft(), now)
            while self._idle and sent < to_send:
                due = start + sent / rate
                if due > now:
                    wait_s = min(wait_s, due - now)
                    break
                self._load.lag.record(int((time.monotonic() - max(due, self._idle_since_s)) * 1e6))
                self._send(self._idle.popleft(), due)
                sent += 1
            self._receive_ready(wait_s)
            now = time.monotonic()
        self._load.lost += len(self._waiting) + to_send - sent
        self._load.seconds = time.monotonic() - start
        return self._load

    def close(self) -> None:
        for connection in self._sockets.values():
            connection.close()
        self._epoll.close()

    def _send(self, number: int, due: float) -> None:
        request = self._requests[self._next][0]
        if SERIAL in request:
            self._serial += 1
            digits = "".join(DIGITS[self._serial >> shift & 31] for shift in range(35, -5, -5))
            request = request.replace(SERIAL, digits.encode())
        self._sockets[number].send(request)
        self._waiting[number] = due, self._next
        self._next = (self._next + 1) % len(self._requests)

    def _receive_ready(self, wait_s: float) -> None:
        for number, _ in self._epoll.poll(wait_s):
            if self._receive(number):
                self._idle_since_s = self._idle_since_s if self._idle else time.monotonic()
                self._idle.append(number)

    def _receive(self, number: int) -> bool:
        # A reply is one small write of the server and arrives whole on a UNIX socket.
        reply = self._sockets[number].recv(4096)
        due, asked = self._waiting.pop(number, (0.0, 0))
        if not reply.endswith(b"\n\n") or reply.count(b"\n") != 2 or not due:
            self._load.lost += 1
            self._epoll.unregister(number)
            return False
        self._load.replies += 1
        self._load.latency.record(int((time.monotonic() - due) * 1e6))
        if not reply.startswith(self._requests[asked][1]):
            self._load.wrong += 1
            self._load.first_wrong = self._load.first_wrong or (asked, reply)
        return True
