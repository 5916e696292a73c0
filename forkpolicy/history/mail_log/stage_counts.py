"""What each stage of a gateway did, counted from Postfix's log by slots of ten minutes, kept in memory.

A log of a month is read for minutes. So a thread reads it while somebody waits for it: first what is new, then back in
time, as far as was asked for. An answer has what is counted by then, and says how far that is.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.mail_log.stages import TEXTS, StageLines
from forkpolicy.history.rollup_sums import SLOT_S, SLOTS_A_DAY, slot_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forkpolicy.history.mail_log.mails import MailLog

    Key = tuple[str, str]

# Lines come this late, from several processes.
_LATE_S: Final = 2
_HOUR_S, _DAY_S = 3600, 86_400
_KEPT_SLOTS: Final = 31 * SLOTS_A_DAY
# Nobody waits for it any more.
_GIVE_UP_S: Final = 120.0


@dataclass(slots=True)
class Sum:
    """How often, and what it took together where `timed` lines said it."""

    count: int = 0
    timed: int = 0
    seconds: float = 0.0

    def add(self, other: Sum) -> None:
        """Those of another sum, too."""
        self.count += other.count
        self.timed += other.timed
        self.seconds += other.seconds


@dataclass(frozen=True, slots=True)
class Counted:
    """By stage and result, from `since_s` to `until_s`; `begins_s`: the time of the oldest line there is, None: none.
    `trouble`: why the log cannot be read.
    """

    sums: Mapping[Key, Sum] = field(default_factory=dict)
    since_s: float = 0.0
    until_s: float = 0.0
    begins_s: float | None = None
    trouble: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted yet."""
        return self.since_s >= self.until_s


class StageCounts:
    """Of one log. For all threads."""

    def __init__(self, opened: Callable[[], MailLog | None], clock: Callable[[], float] = time.time) -> None:
        self._open, self._clock = opened, clock
        self._slots: dict[int, dict[Key, Sum]] = {}
        self._newest = StageLines()
        # Counted from the one to the other; wanted from the third on.
        self._low_s = self._until_s = self._wanted_s = 0.0
        self._begins_s: float | None = None
        self._trouble = ""
        self._asked_s = 0.0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def since(self, first: int, wait_s: float = 1.0) -> Counted | None:
        """From a slot on. Waits so long for what is not counted yet. None where no log is named."""
        if self._open() is None:
            return None
        with self._changed:
            self._want(first * SLOT_S)
            self._changed.wait_for(lambda: self._thread is None or self._has(first * SLOT_S), wait_s)
            since_s = max(self._low_s, first * SLOT_S)
            return Counted(self._sums(first), since_s, self._until_s, self._begins_s, self._trouble)

    def _has(self, first_s: float) -> bool:
        """Whether all is counted from there on, though others may have asked for more."""
        return self._low_s <= first_s and self._until_s >= int(self._clock()) - _LATE_S

    def _sums(self, first: int) -> dict[Key, Sum]:
        sums: dict[Key, Sum] = {}
        for slot, counts in self._slots.items():
            if slot >= first:
                for key, each in counts.items():
                    sums.setdefault(key, Sum()).add(each)
        return sums

    def _want(self, first_s: float) -> None:
        self._asked_s, self._trouble = time.monotonic(), ""
        if not self._until_s:
            self._low_s = self._until_s = float(int(self._clock()) - _LATE_S)
        self._wanted_s = min(self._wanted_s or first_s, first_s)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="stages", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                span = self._next()
                if span is None:
                    self._thread = None
                    self._changed.notify_all()
                    return
            try:
                counts, begins_s = self._read(*span)
            except HistoryError as error:
                with self._changed:
                    self._trouble = str(error)
                continue
            with self._changed:
                self._add(*span, counts, begins_s)
                self._changed.notify_all()

    def _next(self) -> tuple[float, float] | None:
        """What is to be read: the new lines, then an hour back, farther back a day; a compressed file is read whole."""
        now_s = float(int(self._clock()) - _LATE_S)
        if self._trouble or time.monotonic() - self._asked_s > _GIVE_UP_S:
            return None
        if now_s > self._until_s:
            return self._until_s, min(now_s, self._until_s + _HOUR_S)
        if self._low_s > self._wanted_s:
            step_s = _HOUR_S if self._low_s > now_s - _DAY_S else _DAY_S
            return max(self._wanted_s, self._low_s - step_s), self._low_s
        return None

    def _read(self, since_s: float, until_s: float) -> tuple[dict[int, dict[Key, Sum]], float | None]:
        log = self._open()
        lines = self._newest if since_s >= self._until_s else StageLines()
        counts: dict[int, dict[Key, Sum]] = {}
        begins_s = None
        # Both ends of a span of a log are part of it.
        for at_s, line in log.lines_with(TEXTS, since_s, until_s - 1e-6) if log else ():
            begins_s = at_s if begins_s is None else begins_s
            for stage, result, seconds in lines.read(at_s, line):
                found = counts.setdefault(slot_of(at_s), {}).setdefault((stage, result), Sum())
                found.add(Sum(1, seconds is not None, seconds or 0.0))
        return counts, begins_s

    def _add(self, since_s: float, until_s: float, counts: dict[int, dict[Key, Sum]], begins_s: float | None) -> None:
        for slot, of_slot in counts.items():
            known = self._slots.setdefault(slot, {})
            for key, each in of_slot.items():
                known.setdefault(key, Sum()).add(each)
        self._low_s, self._until_s = min(self._low_s, since_s), max(self._until_s, until_s)
        if begins_s is not None:
            self._begins_s = min(self._begins_s or begins_s, begins_s)
        oldest = slot_of(self._clock()) - _KEPT_SLOTS
        for slot in [each for each in self._slots if each < oldest]:
            del self._slots[slot]
