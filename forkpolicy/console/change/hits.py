"""How often the rules of a file have fired since a change, from the history's roll-ups. Raises HistoryError."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.rollup_sums import SLOT_S, slot_of

if TYPE_CHECKING:
    from forkpolicy.history.rollup_sums import Rollups
    from forkpolicy.loading import Loaded

MOST_DAYS: Final = 31


class Hit(NamedTuple):
    """A rule, and how many decisions it has made."""

    line: int
    text: str
    decisions: int


def hits_since(rollups: Rollups, loaded: Loaded, path: str, since_s: float, now_s: float) -> tuple[list[Hit], float]:
    """The rules of a file with their hits, and since when: the roll-ups have ten minutes each, of MOST_DAYS at most."""
    since_s = max(since_s, now_s - MOST_DAYS * 86_400)
    first = slot_of(since_s)
    counted: dict[str, int] = {}
    day = datetime.fromtimestamp(first * SLOT_S, UTC).date()
    while day <= datetime.fromtimestamp(now_s, UTC).date():
        for fired in rollups.fired(str(day), first):
            counted[fired.line] = counted.get(fired.line, 0) + fired.decisions
        day += timedelta(days=1)
    rules = [rule for rule in loaded.policy.model.rules if rule.place and rule.place.path == path]
    found = [Hit(rule.place.line, rule.text, counted.get(rule.where, 0)) for rule in rules if rule.place]
    return found, first * SLOT_S
