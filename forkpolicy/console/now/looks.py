"""Looks at the running server: one a second at most for all who ask, and an earlier one, so that there are rates."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import ForkpolicyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.status import Status

_FRESH_S: Final = 1.0
# Rates are over some seconds where somebody looks all the time, over a minute at most.
_SHORTEST_S, _LONGEST_S = 5.0, 60.0


class Looks:
    """`look` asks the server. Raises NotRunningError, ForkpolicyError: what it raised is raised for a second, so that a
    server that hangs holds up one thread and not all.
    """

    def __init__(self, look: Callable[[], Status], clock: Callable[[], float]) -> None:
        self._look, self._clock = look, clock
        self._lock = threading.Lock()
        # When it was, and what; the oldest first.
        self._seen: list[tuple[float, Status]] = []
        self._failed: tuple[float, ForkpolicyError] | None = None

    def now(self) -> tuple[Status | None, Status]:
        """An earlier look of the same master (None: there was none of late), and one that is fresh."""
        with self._lock:
            now_s = self._clock()
            if self._failed and 0 <= now_s - self._failed[0] < _FRESH_S:
                raise self._failed[1]
            self._seen = [each for each in self._seen if 0 <= now_s - each[0] <= _LONGEST_S]
            if not self._seen or now_s - self._seen[-1][0] >= _FRESH_S:
                self._add(now_s)
            latest = self._seen[-1][1]
            earlier = self._seen[0][1] if len(self._seen) > 1 else None
        return (earlier if earlier and earlier.pid == latest.pid else None), latest

    def _add(self, now_s: float) -> None:
        try:
            latest = self._look()
        except ForkpolicyError as error:
            self._failed = self._clock(), error
            raise
        # Two are enough: one to compare with, and the newest.
        if len(self._seen) > 1 and self._seen[-1][0] - self._seen[0][0] >= _SHORTEST_S:
            del self._seen[0]
        del self._seen[1:]
        self._seen.append((now_s, latest))
