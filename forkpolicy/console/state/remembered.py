"""What is remembered, looked at within a time: limits near their bound, what waits in greylisting, what is listed.

A store may have millions of records, so a look ends after so many or so long, and says what it has seen. Raises
StateError.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.durations import show_duration
from forkpolicy.policy.matchers.remembering.rate import RateMatcher
from forkpolicy.state.listing import Wanted, records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.loading import Loaded
    from forkpolicy.state.listing import Walked
    from forkpolicy.state.shown import Shown

MOST_LOOKED_AT: Final = 5_000
_LONGEST_S: Final = 0.05
_MOST_SHOWN: Final = 20
NEAR: Final = 0.8
MOST_RECORDS: Final = 100


@dataclass(frozen=True, slots=True, order=True)
class Near:
    """A key near its limit: `share` of it is used, more than 1 where refused requests count."""

    share: float
    name: str
    key: tuple[str, ...]
    used: int
    limit: int
    window: str
    counting: str


@dataclass(slots=True)
class Kind:
    """Of one kind of records: how many were looked at, whether those were all, until when the last one is kept."""

    looked_at: int = 0
    is_all: bool = True


@dataclass(slots=True)
class Remembered:
    """One look. `waiting`, `passing`: greylisted triplets. `names`: records of each ACL or list, by kind and name."""

    near: list[Near] = field(default_factory=list)
    waiting: int = 0
    passing: int = 0
    names: dict[tuple[str, str], int] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)


def look(store: Walked, loaded: Loaded | None) -> Remembered:
    """A look of some hundredths of a second. Without the policy no limits are known."""
    limits = limits_of(loaded) if loaded else {}
    seen = Remembered()
    for kind in ("rate", "greylisting", "distinct", "listed"):
        seen.kinds[kind] = _look_at(store, kind, limits, seen)
    seen.near = heapq.nlargest(_MOST_SHOWN, seen.near)
    return seen


def _look_at(store: Walked, kind: str, limits: dict[str, dict[int, int]], seen: Remembered) -> Kind:
    until_s, found = time.monotonic() + _LONGEST_S, Kind()
    for shown, _ in records(store, Wanted(kind)):
        if found.looked_at >= MOST_LOOKED_AT or time.monotonic() > until_s:
            found.is_all = False
            break
        found.looked_at += 1
        seen.names[kind, shown.name] = seen.names.get((kind, shown.name), 0) + 1
        if kind == "rate":
            seen.near += _near(shown, limits.get(shown.name, {}))
        elif "passes" in shown.facts:
            seen.passing += bool(shown.facts["passes"])
            seen.waiting += not shown.facts["passes"]
    return found


def _near(shown: Shown, limits: dict[int, int]) -> Iterator[Near]:
    windows = shown.facts.get("windows")
    for window in windows if isinstance(windows, list) else ():
        used, window_s = window["used"], window["window_s"]
        limit = limits.get(window_s)
        if limit and used >= NEAR * limit:
            counting = str(shown.facts.get("count", ""))
            yield Near(round(used / limit, 3), shown.name, shown.key, used, limit, show_duration(window_s), counting)


def limits_of(loaded: Loaded) -> dict[str, dict[int, int]]:
    """The limits that stand in the policy, by ACL and window in seconds. Those that a table has for single keys are not
    known here.
    """
    found: dict[str, dict[int, int]] = {}
    for acl in loaded.policy.model.acls.values():
        for matcher in acl.matchers:
            if isinstance(matcher, RateMatcher) and matcher.limits:
                found[acl.name] = {limit.window_s: limit.amount for limit in matcher.limits}
    return found


def of_key(store: Walked, wanted: Wanted) -> tuple[list[dict[str, object]], bool]:
    """The records that are asked for, at most MOST_RECORDS; whether those are all."""
    rows: list[dict[str, object]] = []
    for shown, now_s in records(store, wanted):
        if len(rows) >= MOST_RECORDS:
            return rows, False
        rows.append(
            {
                "kind": shown.kind,
                "name": shown.name,
                "key": list(shown.key),
                "is_digest": shown.is_digest,
                "text": shown.text,
                "ends_s": shown.ends_s,
                "now_s": now_s,
            }
        )
    return rows, True
