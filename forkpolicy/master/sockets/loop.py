"""What the master waits for: descriptors, each with a callback. The only selector.

One callback of a turn may unregister another that is still to be called in the same turn: a callback must check that
what it is for is still there.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = Callable[[int], None]

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Readable(Protocol):
    """Something with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


class Slow(Readable, Protocol):
    """Something that may not take at once what is sent to it."""

    unsent: bytearray


class Loop:
    """Descriptors and their callbacks."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._paused: list[tuple[float, Readable, Callback]] = []

    def register(self, what: Readable, callback: Callback) -> None:
        """Call `callback` with the events (READ, WRITE) when there is something to read."""
        self._selector.register(what, READ, callback)

    def watch_writable(self, what: Slow) -> None:
        """Call the callback for writing, too, while something is unsent."""
        callback: Callback = self._selector.get_key(what).data
        self._selector.modify(what, READ | (WRITE if what.unsent else 0), callback)

    def unregister(self, what: Readable) -> None:
        """Wait for it no more; before it is closed. Harmless when it is not registered."""
        self._paused = [each for each in self._paused if each[1] is not what]
        with contextlib.suppress(KeyError):
            self._selector.unregister(what)

    def pause(self, what: Readable, seconds: float) -> None:
        """Do not wait for it for a while: what cannot be taken now would only wake us again."""
        callback: Callback = self._selector.get_key(what).data
        self.unregister(what)
        self._paused.append((time.monotonic() + seconds, what, callback))

    def wait(self, pause_s: float) -> list[tuple[Callback, int]]:
        """Sleep until something is ready, at most for so long; the callbacks to call, with their events."""
        now_s = time.monotonic()
        due = [each for each in self._paused if each[0] <= now_s]
        self._paused = [each for each in self._paused if each[0] > now_s]
        for _, what, callback in due:
            self.register(what, callback)
        return [(key.data, events) for key, events in self._selector.select(pause_s)]
