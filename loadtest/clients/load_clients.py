"""Hundreds of Postfix-like clients in one thread, and what they lost or waited for.

What a client does when something fails is PostfixClient's (policy_client.py): a second's pause, a new connection, one
more try, then 451. Most ask again as soon as they are answered. One in ten rests a second between two requests, so that
there are idle connections to hand over, and one in ten opens a connection for each request.

What Postfix would hold against a server is counted: a connection that ends in use or idle, a reply that is not the one
expected, a byte too many, a reply by an older policy than the last finished reload.
"""

from __future__ import annotations

import heapq
import itertools
import re
import select
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadtest.clients.policy_client import POSTFIX, PostfixClient, Tally, connected
from loadtest.measure.histogram import Histogram

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

REQUEST = b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=203.0.113.5\nsender=a@example.com\n\n"
REPLY = re.compile(rb"action=450 4\.7\.1 version (\d+)\n\n")
POLL_S = 0.1
REST_S = 1.0
ONE_IN = 10
# How long the last replies may take. A worker that hangs is killed within its hang_timeout and a bit.
FINISH_S = 30.0


@dataclass
class LoadTally(Tally):
    """What happened to all of them. `latency` is that of requests that were answered at the first try."""

    closed_in_use: int = 0
    closed_idle: int = 0
    refused_connects: int = 0
    wrong: list[str] = field(default_factory=list)
    outdated: int = 0
    latency: Histogram = field(default_factory=Histogram)

    @property
    def lost(self) -> int:
        """Requests that got no answer, whatever was tried."""
        return self.sent - self.answered


class Client:
    """One of them. `floor` is the version that the reply has to have at least."""

    __slots__ = ("asked_s", "asking", "floor", "rests", "sock", "stale", "tries", "visits")

    def __init__(self, number: int) -> None:
        """Each of ten of them is of some kind."""
        self.rests, self.visits = number % ONE_IN == 1, number % ONE_IN == 2
        self.sock: socket.socket | None = None
        self.asking = self.stale = False
        self.asked_s, self.floor, self.tries = 0.0, 0, 0


class LoadClients(threading.Thread):
    """`count` clients of the UNIX socket at `path`, each asking `request`. `floor` is the version that every reply
    to a request sent from now on has to have at least.
    """

    def __init__(self, path: Path, request: bytes, count: int) -> None:
        """Connect all; `start` begins to ask."""
        super().__init__(daemon=True)
        self._path, self.request = str(path), request
        self._epoll = select.epoll()
        self._clients = [Client(number) for number in range(count)]
        self._by_fd: dict[int, Client] = {}
        self._due: list[tuple[float, int, Callable[[Client], None], Client]] = []
        self._order = itertools.count()
        self._ending = threading.Event()
        self.floor = 0
        self.tally = LoadTally()
        self.failure: BaseException | None = None
        for each in self._clients:
            self._connect(each)

    def finish(self) -> LoadTally:
        """Send nothing more, take the replies that are due, close."""
        self._ending.set()
        self.join()
        if self.failure:
            raise self.failure
        return self.tally

    def run(self) -> None:
        """The thread: until `finish`, and until every request has its answer or has waited too long for one."""
        try:
            for each in self._clients:
                self._ask(each)
            while not self._ending.is_set():
                self._turn()
            until_s = time.monotonic() + FINISH_S
            while any(each.asking for each in self._clients) and time.monotonic() < until_s:
                self._turn()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self.failure = error
        finally:
            for each in self._clients:
                self._close(each)
            self._epoll.close()

    def _turn(self) -> None:
        pause_s = min(POLL_S, max(0.0, self._due[0][0] - time.monotonic())) if self._due else POLL_S
        for fd, _ in self._epoll.poll(pause_s):
            if fd in self._by_fd:
                self._hear(self._by_fd[fd])
        while self._due and self._due[0][0] <= time.monotonic():
            _, _, what, client = heapq.heappop(self._due)
            what(client)

    def _later(self, seconds: float, what: Callable[[Client], None], client: Client) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), what, client))

    # What a client does

    def _ask(self, client: Client) -> None:
        if self._ending.is_set():
            return
        self.tally.sent += 1
        client.asking, client.tries = True, 0
        client.asked_s, client.floor = time.perf_counter(), self.floor
        self._try(client)

    def _try(self, client: Client) -> None:
        if client.stale:
            self._failed(client)
            return
        try:
            self._connect(client).send(self.request)
        except OSError:
            self._lost(client)

    def _try_again(self, client: Client) -> None:
        self._close(client)
        self._try(client)

    def _failed(self, client: Client) -> None:
        client.tries += 1
        if client.tries < POSTFIX.try_limit:
            self._later(self.tally.wait(POSTFIX), self._try_again, client)
            return
        self.tally.given_up += 1
        client.asking = False
        self._later(REST_S, self._ask, client)

    def _hear(self, client: Client) -> None:
        assert client.sock
        try:
            reply = client.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            reply = b""
        if not reply:
            self._lost(client)
        elif client.asking:
            self._answered(client, reply)
        else:
            self.tally.wrong.append(f"unasked: {reply!r}")

    def _answered(self, client: Client, reply: bytes) -> None:
        if not client.tries:
            self.tally.latency.record(int((time.perf_counter() - client.asked_s) * 1e6))
        self.tally.answered += 1
        client.asking = False
        found = REPLY.fullmatch(reply)
        if not found:
            self.tally.wrong.append(repr(reply))
        elif int(found[1]) < client.floor:
            self.tally.outdated += 1
        if client.visits:
            self._close(client)
        if client.rests or client.visits:
            self._later(REST_S, self._ask, client)
        else:
            self._ask(client)

    # Its connection

    def _connect(self, client: Client) -> socket.socket:
        if client.sock is None:
            try:
                client.sock = connected(self._path, POSTFIX.timeout_s)
            except OSError:
                self.tally.refused_connects += 1
                raise
            client.sock.setblocking(False)
            self._by_fd[client.sock.fileno()] = client
            self._epoll.register(client.sock, select.EPOLLIN)
        return client.sock

    def _lost(self, client: Client) -> None:
        """Its connection has ended, or there was none to be had. An smtpd in a session that is not asking sees it when
        it wants to ask.
        """
        if client.sock:
            self.tally.closed_in_use += client.asking
            self.tally.closed_idle += not client.asking
        self._close(client)
        client.stale = True
        if client.asking:
            self._failed(client)

    def _close(self, client: Client) -> None:
        client.stale = False
        if client.sock:
            self._by_fd.pop(client.sock.fileno())
            self._epoll.unregister(client.sock)
            client.sock.close()
            client.sock = None


class Smtpd(threading.Thread):
    """One PostfixClient that asks as an smtpd does: sessions of a few requests, and a moment between two."""

    SESSION = 5
    PAUSE_S = 0.05

    def __init__(self, path: Path, request: bytes) -> None:
        """Nothing is opened before `start`."""
        super().__init__(daemon=True)
        self._client, self._request = PostfixClient(path), request
        self._ending = threading.Event()
        self.wrong: list[str] = []

    def finish(self) -> Tally:
        """End after the session."""
        self._ending.set()
        self.join()
        return self._client.tally

    def run(self) -> None:
        """The thread."""
        with self._client:
            while not self._ending.wait(self.PAUSE_S):
                for _ in range(self.SESSION):
                    action = self._client.ask(self._request)
                    if not REPLY.fullmatch(f"action={action}\n\n".encode()):
                        self.wrong.append(action)
                self._client.between_sessions()
