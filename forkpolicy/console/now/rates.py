"""How many decisions of each kind there were, by slots of ten minutes: sums of days, kept until their file changes.

What is not recorded is None, never 0: a day without a file, and the time before the first decision and behind the last
one of a row of days. For all threads. A day that cannot be read is left out and named.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

from forkpolicy.console.now.kinds import KINDS, kind_of
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.rollup_sums import SLOTS_A_DAY, DaySums, day_of_slot, first_slot, slot_of, sums_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forkpolicy.history.rollup_sums import Rollups

# Of 400 days with roll-ups a page asks for some 45.
_MOST_DAYS: Final = 100
# A day that has just begun has no file before its first decision.
_NEW_DAY_SLOTS: Final = 6
Column = tuple["int | None", ...]
_UNKNOWN: Final[Column] = (None,) * SLOTS_A_DAY
_NOTHING: Final[Column] = (0,) * SLOTS_A_DAY


@dataclass(frozen=True, slots=True)
class _Day:
    """One day. `kinds`: a count for each slot, None where nothing is known; `is_known`: whether there is anything."""

    kinds: Mapping[str, Column]
    rules: Mapping[tuple[str, str], int]
    used: tuple[bool, ...]
    is_known: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """Decisions by kind, one count for each slot from `first` on; `unread`: why days are unknown that were recorded."""

    first: int
    kinds: Mapping[str, Column]
    unread: tuple[str, ...]

    def total(self, kind: str) -> int | None:
        """Of all slots that are known; None where none is."""
        known = [count for count in self.kinds[kind] if count is not None]
        return sum(known) if known else None

    def until(self, slot: int) -> Counts:
        """What is behind a slot is unknown."""
        known = max(0, slot + 1 - self.first)
        kinds = {kind: column[:known] + (None,) * (len(column) - known) for kind, column in self.kinds.items()}
        return Counts(self.first, kinds, self.unread)


class Rates:
    """The days that somebody has asked for."""

    def __init__(self, rollups: Rollups, clock: Callable[[], float]) -> None:
        self._rollups, self._clock = rollups, clock
        self._days: dict[str, tuple[object, _Day]] = {}
        self._lock = threading.Lock()

    def counts(self, first: int, last: int) -> Counts:
        """From the first slot to the last."""
        days = [day_of_slot(slot) for slot in range(first - first % SLOTS_A_DAY, last + 1, SLOTS_A_DAY)]
        unread: list[str] = []
        # The neighbours say whether a day began or ended in the middle of what was recorded.
        around = [day_of_slot(first - SLOTS_A_DAY), *days, day_of_slot(last + SLOTS_A_DAY)]
        found = [self._read(day, unread) for day in around]
        today = day_of_slot(slot_of(self._clock()))
        columns = [
            self._columns(day, each, before, after, today)
            for day, before, each, after in zip(days, found, found[1:], found[2:], strict=False)
        ]
        begin = first % SLOTS_A_DAY
        end = begin + last - first + 1
        kinds = {kind: tuple(chain.from_iterable(each[kind] for each in columns))[begin:end] for kind in KINDS}
        return Counts(first, kinds, tuple(dict.fromkeys(unread)))

    def rules(self, first: int, last: int) -> Counter[tuple[str, str]]:
        """How often each rule (its file and line) gave each verb. Raises HistoryError."""
        found: Counter[tuple[str, str]] = Counter()
        for begin in range(first - first % SLOTS_A_DAY, last + 1, SLOTS_A_DAY):
            day = day_of_slot(begin)
            if first <= begin and begin + SLOTS_A_DAY - 1 <= last:
                found.update(self._day(day).rules)
            else:
                for each in self._rollups.fired(day, first, last):
                    found[each.line, each.verb] += each.decisions
        return found

    def _read(self, day: str, unread: list[str]) -> _Day:
        try:
            return self._day(day)
        except HistoryError as error:
            unread.append(str(error))
            return _day_of(None)

    def _day(self, day: str) -> _Day:
        stamp = self._rollups.stamp(day)
        with self._lock:
            known = self._days.get(day)
        if known and known[0] == stamp:
            return known[1]
        fired = self._rollups.fired(day) if stamp is not None else []
        made = _day_of(sums_of(day, fired) if fired else None)
        with self._lock:
            self._days[day] = (stamp, made)
            while len(self._days) > _MOST_DAYS:
                del self._days[min(self._days)]
        return made

    def _columns(self, day: str, each: _Day, before: _Day, after: _Day, today: str) -> Mapping[str, Column]:
        if not each.is_known:
            is_new = day == today and slot_of(self._clock()) - first_slot(day) < _NEW_DAY_SLOTS
            return dict.fromkeys(KINDS, _NOTHING if is_new and before.is_known else _UNKNOWN)
        begin = 0 if before.is_known else each.used.index(True)
        end = SLOTS_A_DAY if after.is_known or day >= today else SLOTS_A_DAY - each.used[::-1].index(True)
        if (begin, end) == (0, SLOTS_A_DAY):
            return each.kinds
        return {kind: _known_between(column, begin, end) for kind, column in each.kinds.items()}


def _known_between(column: Column, begin: int, end: int) -> Column:
    return _UNKNOWN[:begin] + column[begin:end] + _UNKNOWN[end:]


def _day_of(sums: DaySums | None) -> _Day:
    if sums is None:
        return _Day({}, {}, (), is_known=False)
    kinds: dict[str, Sequence[int]] = dict.fromkeys(KINDS, (0,) * SLOTS_A_DAY)
    for verb, column in sums.verbs.items():
        kind = kind_of(verb)
        kinds[kind] = tuple(map(int.__add__, kinds[kind], column))
    used = tuple(any(counts) for counts in zip(*kinds.values(), strict=True))
    return _Day({kind: tuple(column) for kind, column in kinds.items()}, sums.rules, used, is_known=True)
