"""One pipelined connection to a server of an engine: commands of one turn of the loop go out together, replies come in
their order.

Replies have no numbers. So after a time-out, an end or a malformed reply nothing that was sent can be told apart any
more: all of it fails, and the connection is closed. What was not sent yet, not even in part, is given back.

Callbacks of the loop, no greenlet. `on_end` is called once, from a callback, with the reason and what it leaves.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Final

import gevent
import hiredis

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.worker.redis.transport import Transport

    Done = Callable[[object], None]
    Unsent = list[tuple[bytes, Done]]
    Ended = tuple[Unsent, int]
    """What was not sent, and how many commands have not been replied to."""

READ: Final = 1
WRITE: Final = 2
# Replies taken in one turn of the loop: what else is ready comes between.
REPLIES_A_TURN: Final = 32
# How many times within the time limit the oldest command is looked at.
LOOKS: Final = 4


class Connection:
    """Of one transport that is ready. `timeout_s`: what one reply may take, and a quarter of it more."""

    def __init__(
        self,
        transport: Transport,
        timeout_s: float,
        on_end: Callable[[Connection, str, Ended], None],
    ) -> None:
        self._transport = transport
        self._on_end = on_end
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader()
        self._loop = loop = gevent.get_hub().loop
        self._waiting: deque[Done] = deque()
        self._queued: Unsent = []
        self._unsent = b""
        self._flushes = self._takes = self._writes = False
        self._sent = self._answered = 0
        # How many commands had been sent at each of the last looks.
        self._marks: deque[int] = deque([0] * LOOKS, maxlen=LOOKS)
        self._readable = loop.io(transport.fileno(), READ)
        self._writable = loop.io(transport.fileno(), WRITE)
        self._clock = loop.timer(timeout_s / LOOKS, timeout_s / LOOKS)
        self._is_timed = False
        self._last_reason = ""
        self._readable.start(self._read)
        self.is_open = True

    def send(self, packed: bytes, done: Done) -> None:
        """Send a command with the others of this turn. `done` gets its reply, which may be a hiredis.ReplyError; or a
        ConnectionError, if it may have been executed and nobody knows.
        """
        self._queued.append((packed, done))
        if not self._flushes:
            self._flushes = True
            self._loop.run_callback(self._flush)

    def close(self, reason: str) -> None:
        """End it, as a failure does."""
        self._end(reason)

    def close_when_done(self, reason: str) -> Unsent:
        """End it once what was sent is replied to; what was not is given back."""
        queued, self._queued = self._queued, []
        self._last_reason = reason
        if not self._waiting:
            self._end(reason)
        return queued

    def _flush(self) -> None:
        self._flushes = False
        if not self.is_open or not self._queued or self._unsent:
            return
        queued, self._queued = self._queued, []
        self._waiting.extend([done for _, done in queued])
        self._sent += len(queued)
        if not self._is_timed:
            self._is_timed = True
            self._marks.extend([self._answered] * LOOKS)
            self._clock.start(self._look, update=True)
        self._unsent = b"".join([packed for packed, _ in queued])
        self._write()

    def _write(self) -> None:
        """Send what the socket takes; the rest once it takes more."""
        transport = self._transport
        try:
            self._unsent = self._unsent[transport.write(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        if self._unsent or transport.unsent:
            if not self._writes:
                self._writes = True
                self._writable.start(self._write)
            return
        if self._writes:
            self._writes = False
            self._writable.stop()
        if self._queued:
            self._flush()

    def _read(self) -> None:
        try:
            data = self._transport.read()
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        if not data:
            self._end("it closed the connection")
            return
        self._reader.feed(data)
        if not self._takes:
            self._take()

    def _take(self) -> None:
        """Pass replies on, some of them in a turn."""
        self._takes = False
        reader, waiting = self._reader, self._waiting
        for _ in range(REPLIES_A_TURN):
            try:
                reply = reader.gets()
            except hiredis.ProtocolError:
                self._end("its reply is not one of an engine")
                return
            if reply is False:
                return
            if not waiting:
                self._end("it replied to what nobody asked")
                return
            self._answered += 1
            self._pass_on(waiting.popleft(), reply)
            if self._last_reason and not waiting:
                self._end(self._last_reason)
            if not self.is_open:
                return
        self._takes = True
        self._loop.run_callback(self._take_more)

    def _take_more(self) -> None:
        if self.is_open and self._takes:
            self._take()

    def _look(self) -> None:
        """Whether the oldest command has been waiting for too long; the clock stops while nothing waits."""
        if self._answered < self._marks[0]:
            self._end(f"it did not answer within {self._timeout_s:g} s")
            return
        self._marks.append(self._sent)
        if self._answered == self._sent and not self._queued:
            self._clock.stop()
            self._is_timed = False

    def _end(self, reason: str) -> None:
        if not self.is_open:
            return
        self.is_open = False
        for watcher in (self._readable, self._writable, self._clock):
            watcher.stop()
            watcher.close()
        self._transport.close()
        waiting, queued = self._waiting, self._queued
        self._waiting, self._queued = deque(), []
        self._on_end(self, reason, (queued, len(waiting)))
        failure = ConnectionError(reason)
        for done in waiting:
            self._pass_on(done, failure)

    def _pass_on(self, done: Done, reply: object) -> None:
        try:
            done(reply)
        except Exception:  # noqa: BLE001 - the next replies are others'
            gevent.get_hub().handle_error(self, *sys.exc_info())
