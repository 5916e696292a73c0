"""One connection of Postfix: bytes in, a decision, exactly one reply out.

There is no greenlet: readiness.py calls the turn (turn.py) when there is something to read. It answers the usual
request alone; what is not usual comes here. Nothing waits: a reply that the socket does not take at once is kept and
the connection is not read until it has gone. Postfix keeps a connection for hours and sends the same names in the same
order, so the turn learns the layout of the last request.

A client that sends many requests at once, which Postfix never does, has some of them answered and then waits for its
next turn like every other; until all of them are answered nothing more is read. Nor is anything read while a request
waits for an answer of an engine or of the world (waiting.py).

Closes by itself only for an invalid request, for `idle_timeout`, and when Postfix has closed; others close it only when
the server stops.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

import gevent

from forkpolicy.policy.outcome import WAITS
from forkpolicy.protocol.reader import RequestReader
from forkpolicy.protocol.request import ProtocolError, Request
from forkpolicy.worker.turn import MAX_READ_BYTES

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from forkpolicy.policy.outcome import Outcome
    from forkpolicy.protocol.layout import Values
    from forkpolicy.worker.engine import Engine
    from forkpolicy.worker.generation import Generation
    from forkpolicy.worker.readiness import Readiness
    from forkpolicy.worker.waiting import Parked

MSG_PEEK = 2
# Of one connection in one turn of the loop: 64 KiB hold two thousand requests, 20 ms without any other client.
REQUESTS_A_TURN = 16


class Connection:
    """One accepted, non-blocking socket. `on_close` is called once, after the socket is closed."""

    __slots__ = (
        "_engine",
        "_heard",
        "_idle_timeout_s",
        "_loop",
        "_on_close",
        "_parked",
        "_read_bytes",
        "_reader",
        "_readiness",
        "_sock",
        "_timer",
        "_turn",
        "_unsent",
    )

    def __init__(
        self,
        sock: socket.socket,
        engine: Engine,
        readiness: Readiness,
        on_close: Callable[[Connection], None],
        *,
        idle_timeout_s: float,
        max_request_bytes: int,
        unsent: bytes = b"",
        pending: bytes = b"",
    ) -> None:
        """`unsent` and `pending` are what another worker had in hand of it."""
        self._sock = sock
        self._engine = engine
        self._readiness = readiness
        self._on_close = on_close
        self._idle_timeout_s = idle_timeout_s
        self._read_bytes = min(MAX_READ_BYTES, max_request_bytes)
        self._turn = engine.implementation.turn(sock, self._read_bytes, engine, self)
        self._reader = RequestReader(max_request_bytes, pending)
        self._unsent = unsent
        self._parked: Parked | None = None
        self._heard = False
        self._loop = gevent.get_hub().loop
        self._timer = self._loop.timer(idle_timeout_s)

    def start(self) -> None:
        """Serve from now on, what is there already at once: whatever comes next, a client that has waited for its
        connection to be accepted or handed over is answered. What came along may be whole requests.
        """
        self._timer.start(self._idle_check)
        self._readiness.to_read(self._sock.fileno(), self._turn.readable)
        if not self.idle:
            self._writable()
        else:
            self._turn.readable()

    @property
    def idle(self) -> bool:
        """Whether nothing is owed: no request read and not answered, be it half read, no reply half sent."""
        return not self._reader and not self._unsent and not self._parked

    @property
    def waits(self) -> bool:
        """Whether a request of it waits for an answer: only here it can be replied to."""
        return self._parked is not None

    @property
    def closed(self) -> bool:
        """Whether it is closed or was given away."""
        return self._sock.fileno() < 0

    @property
    def readable(self) -> bool:
        """Whether the client has sent something that was not read yet, or has closed."""
        try:
            self._sock.recv(1, MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    @property
    def unsent(self) -> bytes:
        """What the socket has not taken of a reply yet."""
        return self._unsent

    @property
    def pending(self) -> bytes:
        """The bytes of requests that are not answered yet, the last of them unfinished perhaps."""
        return self._reader.pending

    @property
    def requests(self) -> int:
        """How many were answered. For the balance between workers: which connections carry the traffic."""
        return self._turn.requests

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def detach(self) -> int:
        """Stop serving and give the descriptor away; `unsent` and `pending` are what goes with it. Not while a request
        waits.
        """
        assert not self._parked
        self._stop()
        return self._sock.detach()

    def close(self) -> None:
        """Close the connection. Harmless when it is closed."""
        if self._sock.fileno() < 0:
            return
        self._stop()
        self._sock.close()
        self._on_close(self)

    def _stop(self) -> None:
        if self._parked:
            self._engine.waiting.forget(self._parked)
            self._parked = None
        self._turn.end()
        self._readiness.remove(self._sock.fileno())
        self._timer.stop()
        self._timer.close()

    def finish(
        self, raw: bytes, started_ns: int, outcome: Outcome, values: Values, generation: Generation | None = None
    ) -> None:
        """Reply to a request that is decided, with what its reply and the log want, or wait for what decides it. Called
        by the turn. `generation`: that of a request that has waited.
        """
        if outcome is WAITS:
            self._wait(raw, started_ns, values)
            return
        generation = generation or self._engine.serving
        try:
            reply = generation.finish(outcome, values, raw, (perf_counter_ns() - started_ns) // 1000)
        except Exception as error:  # noqa: BLE001 - whatever bug this is, Postfix gets an answer
            self._engine.bug(error)
            outcome = generation.on_error
            reply = outcome.rule.action.encoded
        self._turn.send(reply)
        self._turn.count(outcome, started_ns)

    def _wait(self, raw: bytes, started_ns: int, values: Values) -> None:
        """Park a request. What the client sends meanwhile waits, and so does its end."""
        parked = self._engine.park(raw, values, started_ns)
        outcome = self._engine.waiting.begin(parked, self)
        if outcome is None:
            self._parked, self._heard = parked, False
            self._readiness.hold(self._sock.fileno(), self._hear)
        else:
            self.finish(raw, started_ns, outcome, values, parked.generation)

    def _hear(self) -> None:
        """Something has come while a request waits."""
        self._heard = True

    def answered(self, parked: Parked, outcome: Outcome) -> None:
        """Reply to the request that has waited, and go on with what came meanwhile. Called by waiting.py."""
        self._parked = None
        self._engine.counters.wait(perf_counter_ns() - parked.parked_ns)
        self.finish(parked.raw, parked.started_ns, outcome, parked.values, parked.generation)
        if self._sock.fileno() < 0:
            return
        if self._heard or self._reader or self._unsent:
            self._writable()
        else:
            self._readiness.release(self._sock.fileno())

    def read_exactly(self, raw: bytes, started_ns: int) -> None:
        """Read what is not a single request of the known layout: parts, several at once, another layout, no request, or
        as much as was asked for, so that there may be more. Called by the turn.
        """
        if len(raw) == self._read_bytes:
            self._readiness.again(self._sock.fileno())
        # The rest of a request, or one that comes before those read here are answered, is not for the turn.
        self._turn.learn(None)
        self._reader.feed(raw)
        self._serve_what_was_read(started_ns)

    def _serve_what_was_read(self, started_ns: int) -> bool:
        """Answer whole requests; whether that is done, and the connection may be read again."""
        reader, engine = self._reader, self._engine
        try:
            for _ in range(REQUESTS_A_TURN):
                raw = reader.next_request()
                if raw is None:
                    return True
                request = Request.parse(raw)
                if not reader:
                    self._turn.learn(engine.layout_of(request))
                values = engine.values_of(request)
                self.finish(raw, started_ns, engine.decide(values), values)
                if self._unsent or self._parked or self._sock.fileno() < 0:
                    return False
                started_ns = perf_counter_ns()
        except ProtocolError as error:
            engine.counters.protocol_errors += 1
            engine.seldom_log.event("warning", "invalid request", str(error), first_bytes=error.shown.decode("latin-1"))
            self.close()
            return False
        # Nearly always it is writable in the next turn, and then so are others: theirs come in between.
        self._readiness.to_write(self._sock.fileno(), self._writable)
        return False

    def send_later(self, rest: bytes) -> None:
        """Send what the socket has not taken as soon as it can, and read nothing meanwhile. Called by the turn."""
        self._unsent = rest
        self._readiness.to_write(self._sock.fileno(), self._writable)

    def _writable(self) -> None:
        """Send the rest of a reply, or answer requests that have waited for their turn, or both."""
        started_ns = perf_counter_ns()
        if self._unsent:
            reply, self._unsent = self._unsent, b""
            self._turn.send(reply)
        if not self._unsent and self._sock.fileno() >= 0 and self._serve_what_was_read(started_ns):
            self._readiness.to_read(self._sock.fileno(), self._turn.readable)

    def _idle_check(self) -> None:
        left_s = self._idle_timeout_s - (perf_counter_ns() - self._turn.last_used_ns) / 1e9
        if self._parked:
            left_s = self._idle_timeout_s
        if left_s <= 0:
            self.close()
        else:
            self._timer.stop()
            self._timer.close()
            self._timer = self._loop.timer(left_s)
            self._timer.start(self._idle_check)
