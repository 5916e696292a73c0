"""Hundreds of Postfix-like clients in one thread: each holds a connection and asks again as soon as it is answered.

What Postfix would hold against a server is counted: a connection that is closed while nothing was asked, a reply that
is not the one expected, a byte too many, a reply by an older policy than the last finished reload. A request whose
connection ends before its answer is asked again on a new one, as attr_clnt.c does, and counted.
"""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadtest.histogram import Histogram

if TYPE_CHECKING:
    from pathlib import Path

REPLY = re.compile(rb"action=450 4\.7\.1 version (\d+)\n\n")
POLL_S = 0.1


@dataclass
class Tally:
    """What happened."""

    sent: int = 0
    answered: int = 0
    asked_again: int = 0
    closed_idle: int = 0
    wrong: list[str] = field(default_factory=list)
    outdated: int = 0
    refused_connects: int = 0
    latency: Histogram = field(default_factory=Histogram)


class Crowd(threading.Thread):
    """`count` connections to the UNIX socket at `path`, each asking `request`. `floor` is the version that every reply
    to a request sent from now on has to have at least.
    """

    def __init__(self, path: Path, request: bytes, count: int) -> None:
        """Connect all; `start` begins to ask."""
        super().__init__(daemon=True)
        self._path, self._request = str(path), request
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._asked: dict[int, tuple[float, int]] = {}
        self._ending = threading.Event()
        self.floor = 0
        self.tally = Tally()
        self.failure: BaseException | None = None
        for _ in range(count):
            self._connect()

    def finish(self) -> Tally:
        """Ask no more, take the answers that are due, close."""
        self._ending.set()
        self.join(30)
        if self.failure:
            raise self.failure
        return self.tally

    def run(self) -> None:
        """The thread: until `finish`, and until every request has its answer."""
        try:
            for fd in list(self._sockets):
                self._ask(fd)
            while self._asked:
                for fd, _ in self._epoll.poll(POLL_S):
                    self._take(fd)
            for each in self._sockets.values():
                each.close()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self.failure = error

    def _connect(self) -> int:
        client = socket.socket(socket.AF_UNIX)
        client.connect(self._path)
        client.setblocking(False)
        self._sockets[client.fileno()] = client
        self._epoll.register(client.fileno(), select.EPOLLIN)
        return client.fileno()

    def _ask(self, fd: int, *, again: bool = False) -> None:
        self._asked[fd] = (time.perf_counter(), self.floor)
        self.tally.sent += not again
        try:
            self._sockets[fd].send(self._request)
        except OSError:
            self._lost(fd)

    def _take(self, fd: int) -> None:
        if fd not in self._sockets:
            return
        try:
            reply = self._sockets[fd].recv(4096)
        except OSError:
            reply = b""
        if fd not in self._asked:
            if reply:
                self.tally.wrong.append(f"unasked: {reply!r}")
            else:
                self.tally.closed_idle += 1
                self._replace(fd)
            return
        if not reply:
            self._lost(fd)
            return
        asked_s, floor = self._asked.pop(fd)
        self.tally.latency.record(int((time.perf_counter() - asked_s) * 1e6))
        self.tally.answered += 1
        found = REPLY.fullmatch(reply)
        if not found:
            self.tally.wrong.append(repr(reply))
        elif int(found[1]) < floor:
            self.tally.outdated += 1
        if not self._ending.is_set():
            self._ask(fd)

    def _lost(self, fd: int) -> None:
        self.tally.asked_again += 1
        del self._asked[fd]
        new = self._replace(fd)
        if new is not None:
            self._ask(new, again=True)

    def _replace(self, fd: int) -> int | None:
        self._epoll.unregister(fd)
        self._sockets.pop(fd).close()
        try:
            return self._connect()
        except OSError:
            self.tally.refused_connects += 1
            return None
