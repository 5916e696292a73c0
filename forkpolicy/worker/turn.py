"""The usual turn of a connection: one request of the learnt layout in, its decision, its reply out, counted.

This is the reference of what `_turn.c` does faster; implementation.py picks one. Nothing here waits. What is not usual
goes to the connection: bytes that are no single request of the known layout, a reply that must be made or logged, the
rest of a reply, an end.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from forkpolicy.policy.outcome import Outcome
    from forkpolicy.protocol.layout import Layout, Values
    from forkpolicy.worker.counters import Counters

MAX_READ_BYTES = 65536


class Owner(Protocol):
    """The connection of a turn. Times are those of `perf_counter_ns`."""

    def read_exactly(self, raw: bytes, started_ns: int, /) -> None:
        """Answer what is not a single request of the learnt layout."""

    def finish(self, raw: bytes, started_ns: int, outcome: Outcome, values: Values, /) -> None:
        """Reply to a decided request whose reply is not a plain one."""

    def send_later(self, rest: bytes, /) -> None:
        """Send that once the socket takes it."""

    def close(self) -> None:
        """The client has closed, or cannot be reached."""


class Decider(Protocol):
    """What decides: the engine. A layout is for one `layouts_epoch`, since another policy wants other attributes."""

    counters: Counters
    layouts_epoch: int

    @property
    def decide(self) -> Callable[[Values], Outcome]:
        """Decides a request. Another function at times, so it is fetched for each request."""

    @property
    def noted(self) -> Sequence[Outcome]:
        """The `log` rules that have fired for the request that was decided last, and are not logged yet."""


class Turn:
    """The socket's side of a connection. `last_used_ns`: when its last request came; `requests`: how many."""

    __slots__ = ("_engine", "_epoch", "_layout", "_owner", "_read_bytes", "_sock", "last_used_ns", "requests")

    def __init__(self, sock: socket.socket, read_bytes: int, engine: Decider, owner: Owner) -> None:
        """`read_bytes`: the most that is read at once, MAX_READ_BYTES at most."""
        self._sock = sock
        self._read_bytes = read_bytes
        self._engine = engine
        self._owner = owner
        self._layout: Layout | None = None
        self._epoch = 0
        self.last_used_ns = perf_counter_ns()
        self.requests = 0

    def readable(self) -> None:
        """Answer what there is to read. Raises what `decide` raises."""
        started_ns = perf_counter_ns()
        try:
            data = self._sock.recv(self._read_bytes)
        except BlockingIOError:
            return
        except OSError:
            self._owner.close()
            return
        engine = self._engine
        # As much as was asked for: there may be more, which the connection has to see to.
        if self._layout is not None and self._epoch == engine.layouts_epoch and len(data) < self._read_bytes:
            values = self._layout.values(data)
            if values is not None:
                outcome = engine.decide(values)
                if outcome.plain and not engine.noted:
                    self.send(outcome.plain)
                    self.count(outcome, started_ns)
                else:
                    self._owner.finish(data, started_ns, outcome, values)
                return
        if data:
            self._owner.read_exactly(data, started_ns)
        else:
            self._owner.close()

    def learn(self, layout: Layout | None) -> None:
        """Expect requests of this layout; of none that is known: None."""
        self._layout, self._epoch = layout, self._engine.layouts_epoch

    def send(self, reply: bytes) -> None:
        """Send what the socket takes; the connection gets the rest."""
        try:
            sent = self._sock.send(reply)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._owner.close()
            return
        if sent != len(reply):
            self._owner.send_later(reply[sent:])

    def count(self, outcome: Outcome, started_ns: int) -> None:
        """Count a request that was answered."""
        outcome.hits += 1
        self._engine.counters.add(perf_counter_ns() - started_ns)
        self.last_used_ns = started_ns
        self.requests += 1

    def end(self) -> None:
        """Know the socket and the connection no more: they were closed or given away."""
        # It has us, too: without that only the collector would free both.
        self._owner = None  # type: ignore[assignment]
