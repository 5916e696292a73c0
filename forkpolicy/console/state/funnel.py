"""What greylisting did, from what workers have counted since they began: how many came first, came early, passed.

A triplet that came and neither passed nor waits gave up, or its time is over. Records last longer than workers, so that
figure is a bound, and none where more waits than came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


_RESULTS: Final = ("new", "early", "passed", "known", "auto")


@dataclass(frozen=True, slots=True)
class Funnel:
    """Of one ACL. `known`: had passed before; `auto`: its network is known; `gave_up`: None where it is not known."""

    name: str
    new: int = 0
    early: int = 0
    passed: int = 0
    known: int = 0
    auto: int = 0
    gave_up: int | None = None


def funnels(answered: Mapping[str, int], waiting: int | None) -> list[Funnel]:
    """`answered`: by `KIND NAME RESULT`, as workers count; `waiting`: triplets that wait now, None where that is not
    known. With several ACLs nobody knows whose those are.
    """
    counts: dict[str, dict[str, int]] = {}
    for named, count in answered.items():
        kind, _, rest = named.partition(" ")
        name, _, result = rest.rpartition(" ")
        if kind == "greylisting":
            counts.setdefault(name, {})[result] = count
    alone = waiting if len(counts) == 1 else None
    return [
        Funnel(name, **{each: results.get(each, 0) for each in _RESULTS}, gave_up=_gave_up(results, alone))
        for name, results in counts.items()
    ]


def _gave_up(results: Mapping[str, int], waiting: int | None) -> int | None:
    if waiting is None:
        return None
    gave_up = results.get("new", 0) - results.get("passed", 0) - waiting
    return gave_up if gave_up >= 0 else None
