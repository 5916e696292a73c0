"""Load on a policy socket without locust: many connections, one request in flight on each, every reply checked.

In C where there is a compiler, else the same in Python. Closed loop (as fast as it goes) or open loop (requests fall
due at a rate, and latency counts from then, so that a stalled server cannot hide its stall). A request comes with what
the right reply to it begins with.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadtest.errors import SetupError
from loadtest.measure.histogram import Histogram
from loadtest.native import program

if TYPE_CHECKING:
    from pathlib import Path

# How long an answer may take when the time is over, before it is lost: peers with long lists need seconds.
GRACE_S = 60.0

Requests = Sequence[tuple[bytes, bytes]]


@dataclass(slots=True)
class Load:
    """What came of one run."""

    replies: int = 0
    wrong: int = 0
    lost: int = 0
    seconds: float = 0.0
    latency: Histogram = field(default_factory=Histogram)
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


def run(
    path: str | Path,
    requests: Requests,
    *,
    connections: int,
    seconds: float,
    rate: float = 0.0,
) -> Load:
    """Send `requests` (each with what the right reply begins with) over and over; `rate` 0 is closed loop."""
    native = program("generate")
    if native is None:
        return _Python(path, requests, connections).run(seconds, rate)
    with tempfile.NamedTemporaryFile() as file:
        for text, right in requests:
            file.write(struct.pack("<IB", len(text), len(right)) + right + text)
        file.flush()
        words = [str(native), str(path), file.name, str(connections), str(seconds), str(rate)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"no load on {path}: {done.stderr.strip()}")
    result = json.loads(done.stdout)
    buckets = ((int(bucket), count) for bucket, count in result.pop("histogram").items())
    if "first_wrong" in result:
        number, reply = result["first_wrong"]
        result["first_wrong"] = number, bytes.fromhex(reply)
    return Load(latency=Histogram(buckets), **result)


class _Python:
    """The same as native/generate.c, for machines without a compiler."""

    def __init__(self, path: str | Path, requests: Requests, connections: int) -> None:
        self._requests, self._next = requests, 0
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

    def run(self, seconds: float, rate: float) -> Load:
        start = now = time.monotonic()
        idle, sent = list(self._sockets), 0
        while now < start + seconds or (self._waiting and now < start + seconds + GRACE_S):
            due = start + sent / rate if rate else now
            while idle and due <= now and now < start + seconds:
                self._send(idle.pop(), due)
                sent += 1
                due = start + sent / rate if rate else now
            wait_s = min(0.1, max(0.0, due - now)) if idle else 0.1
            for number, _ in self._epoll.poll(wait_s):
                if self._receive(number):
                    idle.append(number)
            now = time.monotonic()
        self._load.lost += len(self._waiting)
        self._load.seconds = time.monotonic() - start
        for connection in self._sockets.values():
            connection.close()
        self._epoll.close()
        return self._load

    def _send(self, number: int, due: float) -> None:
        self._sockets[number].send(self._requests[self._next][0])
        self._waiting[number] = due, self._next
        self._next = (self._next + 1) % len(self._requests)

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
