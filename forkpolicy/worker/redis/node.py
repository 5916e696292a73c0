"""One server of an engine, as a worker uses it: its connection, made again whenever it has ended, and its breaker.

`send` takes a command at any time. Until a connection is ready it waits for one, which takes one time limit at most;
while the breaker is open it fails at once. What may have been executed is never sent again.

A server that could not be reached is up again once it answers a PING, one that failed what it was asked only when a
command is executed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

import gevent

from forkpolicy.errors import StateError
from forkpolicy.worker.redis.breaker import Breaker
from forkpolicy.worker.redis.connecting import connect, shown
from forkpolicy.worker.redis.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.worker.redis.connecting import Address, Means
    from forkpolicy.worker.redis.connection import Ended

    Done = Callable[[object], None]

# How often it may be asked at most who has a server's place.
RENEW_S: Final = 1.0


class Watcher(Protocol):
    """Gets what happens to a node, or to what knows the nodes."""

    def node_is_down(self, node: object, reason: str, /) -> None:
        """It is asked no more: called when that begins, and after each further attempt."""

    def node_is_up(self, node: object, where: str, /) -> None:
        """It answers again."""


class Node:
    """`locate` says where it is, before each connection, and may wait; it raises StateError."""

    def __init__(self, means: Means, locate: Callable[[], Address], watcher: Watcher) -> None:
        self._means, self._locate, self._watcher = means, locate, watcher
        self._connection: Connection | None = None
        self._pending: list[tuple[bytes, Done]] = []
        self._connecting: gevent.Greenlet[..., None] | None = None
        self._closed = False
        self._was_reached = True
        self._renewed_s = -RENEW_S
        self.breaker = Breaker()
        self.address: Address | None = None

    @property
    def refused(self) -> str:
        """Why nothing can be asked now; empty where it can be tried."""
        return self.breaker.reason if self.breaker.is_open else ""

    def shown(self, reason: str) -> str:
        """A reason, with where it was met."""
        return reason if self.where in reason else f"{self.where}: {reason}"

    @property
    def where(self) -> str:
        """Its address, as messages name it."""
        return shown(self.address) if self.address else str(self._means.access.url)

    def start(self) -> None:
        """Connect, if that is not under way."""
        if self._connection is None and self._connecting is None and not self._closed:
            self._connecting = gevent.spawn(self._connect)

    def send(self, packed: bytes, done: Done) -> None:
        """Send a command; `done` is called later, with a reply (a hiredis.ReplyError, perhaps), or with a
        ConnectionError.
        """
        if self._connection:
            self._connection.send(packed, done)
        elif self.breaker.is_open:
            gevent.get_hub().loop.run_callback(done, ConnectionError(self.breaker.reason))
        else:
            self._pending.append((packed, done))
            self.start()

    def succeeded(self) -> None:
        """A command was executed."""
        if self.breaker.failures:
            self.breaker.succeeded()
            self._watcher.node_is_up(self, self.where)

    def failed(self, reason: str) -> None:
        """It replies, but with what no other command would do better against: nothing is asked until a PING is."""
        self._retire(reason)
        self._fail(reason, is_certain=True)

    def renew(self) -> None:
        """Ask again where it is, if that was not done a moment ago. What was sent on this connection is replied to
        there.
        """
        now_s = time.monotonic()
        if now_s - self._renewed_s >= RENEW_S:
            self._renewed_s = now_s
            self._retire("another server has its place")
            self.start()

    def close(self) -> None:
        """For good."""
        self._closed = True
        if self._connecting:
            self._connecting.kill(block=False)
        if self._connection:
            self._connection.close("closed")
        self._fail_pending("closed")

    def _retire(self, reason: str) -> None:
        connection, self._connection = self._connection, None
        if connection:
            self._pending += connection.close_when_done(reason)

    def _ended(self, connection: Connection, reason: str, ended: Ended) -> None:
        unsent, unanswered = ended
        self._pending += unsent
        if connection is self._connection:
            self._connection = None
            # Servers close connections that were idle for long.
            if unanswered:
                self._fail(reason, is_certain=False)
            self.start()
        elif self._pending:
            self.start()

    def _fail(self, reason: str, *, is_certain: bool) -> None:
        self._was_reached = True
        text = self.shown(reason)
        if self.breaker.failed(text, is_certain=is_certain):
            self._watcher.node_is_down(self, text)
        if self.breaker.is_open:
            self._fail_pending(text)
        self.start()

    def _fail_pending(self, reason: str) -> None:
        pending, self._pending = self._pending, []
        for _, done in pending:
            gevent.get_hub().loop.run_callback(done, ConnectionError(reason))

    def _connect(self) -> None:
        """Try until it works."""
        try:
            while True:
                if self.breaker.is_open:
                    gevent.sleep(self.breaker.next_delay_s())
                try:
                    self.address = self._locate()
                    transport = connect(self._means, self.address)
                except StateError as error:
                    self._connecting_failed(str(error))
                except Exception as error:  # noqa: BLE001 - a bug of ours must not leave questions without an answer
                    self._connecting_failed(f"{type(error).__name__}: {error}")
                else:
                    break
        finally:
            self._connecting = None
        if self._closed:
            # It was ready in the same turn of the loop.
            transport.close()
            return
        self._connection = connection = Connection(transport, self._means.access.timeout_s, self._ended)
        if self.breaker.is_open:
            self.breaker.probe()
            if not self._was_reached:
                self._watcher.node_is_up(self, self.where)
        pending, self._pending = self._pending, []
        for packed, done in pending:
            connection.send(packed, done)

    def _connecting_failed(self, reason: str) -> None:
        self._was_reached = False
        self.breaker.failed(reason, is_certain=True)
        self._watcher.node_is_down(self, reason)
        self._fail_pending(reason)
