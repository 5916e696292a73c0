"""How often each rule of a policy fired, from the history's roll-ups, though its line has moved since.

A roll-up knows a rule by its file and line, the ACLs that it shows, and the first word of its reply. What is recorded
for a line belongs to the rule that stands there if it has the same ACLs and word; otherwise to the rule of the same
file that has them, of several the nearest; otherwise to a rule that is not there any more. So lines that come or go
above a rule take nothing from it, and a rule that was changed begins anew. None is what nobody knows, never 0.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.rollup_sums import SLOT_S, SLOTS_A_DAY, day_of_slot, first_slot, slot_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from forkpolicy.history.rollup_sums import Fired, Rollups
    from forkpolicy.policy.model import Rule

DAYS: Final = 30
HOURS: Final = 24
_SLOTS_AN_HOUR: Final = 3600 // SLOT_S


class Recorded(NamedTuple):
    """What the roll-ups know a rule by."""

    line: str
    acls: str
    verb: str


@dataclass(slots=True)
class Hits:
    """Of one rule: in the last 24 hours, by the hour with the latest last, by day with the latest last, and the end of
    the ten minutes in which it fired last, in seconds since 1970. `known_as`: files and lines in the history.
    """

    day: int
    hours: list[int]
    days: list[int]
    last_s: float | None
    known_as: list[str]

    @property
    def total(self) -> int:
        """In all days."""
        return sum(self.days)


@dataclass(frozen=True, slots=True)
class Counted:
    """By the number of a rule. `since_s`: the first decision that is recorded, None: there is none; `unread`: why days
    are left out; `gone`: decisions of rules that are not there any more; `all`: all decisions.
    """

    rules: Mapping[int, Hits]
    since_s: float | None
    unread: tuple[str, ...]
    gone: int
    all: int


class _Day(NamedTuple):
    """What fired on a day, and its first slot."""

    fired: Sequence[Fired] = ()
    first: int | None = None


class Counts:
    """The days that somebody has asked for. For all threads."""

    def __init__(self, rollups: Callable[[], Rollups], clock: Callable[[], float]) -> None:
        self._open, self._clock = rollups, clock
        self._days: dict[str, tuple[object, _Day]] = {}
        self._lock = threading.Lock()

    def of(self, rules: Sequence[Rule]) -> Counted:
        """Of these rules in DAYS days."""
        now_s = self._clock()
        now = slot_of(now_s)
        days = [day_of_slot(now - at * SLOTS_A_DAY) for at in reversed(range(DAYS))]
        unread: list[str] = []
        read = [self._read(day, unread) for day in days]
        owner = owners(rules, {_recorded(each) for day in read for each in day.fired})
        found: dict[int, Hits] = {}
        gone = every = 0
        for at, day in enumerate(read):
            for each in day.fired:
                every += each.decisions
                number = owner.get(_recorded(each))
                if number is not None:
                    _add(found.setdefault(number, Hits(0, [0] * HOURS, [0] * DAYS, None, [])), each, at, now_s)
                elif ":" in each.line:
                    gone += each.decisions
        first = min((day.first for day in read if day.first is not None), default=None)
        return Counted(found, None if first is None else first * SLOT_S, tuple(dict.fromkeys(unread)), gone, every)

    def _read(self, day: str, unread: list[str]) -> _Day:
        try:
            rollups = self._open()
            stamp = rollups.stamp(day)
            with self._lock:
                known = self._days.get(day)
            if known and known[0] == stamp:
                return known[1]
            fired = rollups.fired(day) if stamp is not None else []
        except HistoryError as error:
            unread.append(str(error))
            return _Day()
        is_over = first_slot(day) < slot_of(self._clock()) - 2 * SLOTS_A_DAY
        made = _Day(list(_of_a_day(fired)) if is_over else fired, min((each.slot for each in fired), default=None))
        with self._lock:
            self._days[day] = (stamp, made)
            while len(self._days) > DAYS + 2:
                del self._days[min(self._days)]
        return made


def owners(rules: Iterable[Rule], recorded: Iterable[Recorded]) -> dict[Recorded, int]:
    """The number of the rule to which what is recorded belongs; what has none is left out."""
    alike: dict[tuple[str, str], list[Rule]] = defaultdict(list)
    for rule in rules:
        alike[rule.shown_acls, _verb(rule)].append(rule)
    found = {}
    for each in recorded:
        path, _, line = each.line.rpartition(":")
        candidates = [rule for rule in alike.get((each.acls, each.verb), ()) if _is_in(rule, path)]
        if candidates and line.isdigit():
            found[each] = min(candidates, key=lambda rule: (abs(_line(rule) - int(line)), _line(rule))).number
    return found


def _add(hits: Hits, fired: Fired, at: int, now_s: float) -> None:
    hits.days[at] += fired.decisions
    hits.last_s = max(hits.last_s or 0.0, min((fired.slot + 1) * SLOT_S, int(now_s) - 1))
    hour = HOURS - 1 - (slot_of(now_s) - fired.slot) // _SLOTS_AN_HOUR
    if 0 <= hour < HOURS:
        hits.hours[hour] += fired.decisions
        hits.day += fired.decisions
    if fired.line not in hits.known_as:
        hits.known_as.append(fired.line)


def _of_a_day(fired: Iterable[Fired]) -> Iterable[Fired]:
    """One for each rule, in the slot of its last."""
    found: dict[Recorded, Fired] = {}
    for each in fired:
        before = found.setdefault(_recorded(each), each)
        if before is not each:
            sums = each._replace(decisions=each.decisions + before.decisions, slot=max(each.slot, before.slot))
            found[_recorded(each)] = sums
    return found.values()


def _recorded(fired: Fired) -> Recorded:
    return Recorded(fired.line, fired.acls, fired.verb)


def _verb(rule: Rule) -> str:
    return rule.action.reply.text.partition(" ")[0]


def _is_in(rule: Rule, path: str) -> bool:
    """Whether a rule is of a file; a server that was started there has its name alone."""
    return rule.place is not None and (rule.place.path == path or rule.place.path.endswith(f"/{path}"))


def _line(rule: Rule) -> int:
    return rule.place.line if rule.place else 0
