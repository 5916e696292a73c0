"""What could be logged with every request is logged once a minute for each kind; the next line has the number of those
in between. Raises nothing: the log never blocks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkpolicy.log_formats import Writer

REPEAT_S = 60.0


class EventLog(Protocol):
    """Where lines go: never blocks."""

    def event(self, level: str, event: str, **fields: object) -> None:
        """Log one event."""

    def writer(self, level: str, event: str, fields: Mapping[str, object], arguments: Sequence[str]) -> Writer:
        """A fast function that logs one event of a kind (log_formats.py)."""


class SeldomLog:
    """One worker's. Its memory outlives generations, so a reload does not repeat what was logged a moment ago."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._last_logged_s: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def event(self, level: str, event: str, reason: str, *, key: str = "", **fields: object) -> None:
        """Log an event if its kind was not logged within the last minute. `key` separates kinds of one event."""
        kind = f"{event} {key}"
        now_s = time.monotonic()
        if now_s - self._last_logged_s.get(kind, -REPEAT_S) < REPEAT_S:
            self._suppressed[kind] = self._suppressed.get(kind, 0) + 1
            return
        self._last_logged_s[kind] = now_s
        suppressed = self._suppressed.pop(kind, 0)
        more: dict[str, object] = {"suppressed": suppressed} if suppressed else {}
        self._log.event(level, event, reason=reason, **fields, **more)
