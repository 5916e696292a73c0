"""What a resolver needs of an event loop, and a loop of its own for commands that have none."""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    Ready = Callable[[bool, bool], None]


class Handle(Protocol):
    """Something that is waited for."""

    def stop(self) -> None:
        """Wait no longer. Harmless when it is over."""


class Loop(Protocol):
    """Calls back, never inside these functions."""

    @property
    def turn(self) -> int:
        """The number of the turn: another one in the next."""

    def watch(self, fd: int, *, read: bool, write: bool, ready: Ready) -> Handle:
        """Call `ready(may be read, may be written)` whenever `fd` is, until the handle is stopped."""

    def after(self, delay_s: float, call: Callable[[], object]) -> Handle:
        """Call once, after `delay_s`; 0: in the next turn, when others had theirs."""


class SelectorLoop:
    """The loop of a command: turns only while `run_until` waits."""

    def __init__(self) -> None:
        """Nothing is waited for yet."""
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()
        self.turn = 0

    def watch(self, fd: int, *, read: bool, write: bool, ready: Ready) -> Handle:
        """See Loop."""
        events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if write else 0)
        return _Watch(self._selector, fd, events, ready)

    def after(self, delay_s: float, call: Callable[[], object]) -> Handle:
        """See Loop."""
        timer = _Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._order), timer))
        return timer

    def run_until(self, is_done: Callable[[], bool], limit_s: float) -> bool:
        """Turn until that is so, for `limit_s` at most; whether it is so."""
        end = time.monotonic() + limit_s
        while not is_done() and (left_s := end - time.monotonic()) > 0:
            self.run_once(left_s)
        return is_done()

    def close(self) -> None:
        """Nothing is waited for any more."""
        self._selector.close()

    def run_once(self, longest_s: float) -> None:
        """Wait for something, at most that long, and call back."""
        self.turn += 1
        until_timer_s = self._timers[0][0] - time.monotonic() if self._timers else longest_s
        events = self._selector.select(max(0.0, min(longest_s, until_timer_s)))
        now = time.monotonic()
        # Before others are called back: what they want after 0 s is for the next turn.
        due = []
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[2])
        for key, mask in events:
            watch: _Watch = key.data
            if not watch.is_stopped:
                watch.ready(bool(mask & selectors.EVENT_READ), bool(mask & selectors.EVENT_WRITE))
        for timer in due:
            timer.fire()


class _Watch:
    def __init__(self, selector: selectors.BaseSelector, fd: int, events: int, ready: Ready) -> None:
        self._selector, self._fd, self.ready = selector, fd, ready
        self.is_stopped = False
        selector.register(fd, events, self)

    def stop(self) -> None:
        if not self.is_stopped:
            self.is_stopped = True
            self._selector.unregister(self._fd)


class _Timer:
    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def fire(self) -> None:
        call, self._call = self._call, None
        if call:
            call()

    def stop(self) -> None:
        self._call = None
