"""--stats: what a table consists of, counted by walking it once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypedDict

from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from forkpolicy.tables.reader import Table

_MOST_COMMON: Final = 20


class Statistics(TypedDict):
    """Numbers of entries, the most frequent first."""

    shapes: dict[str, int]
    values: dict[str, int]
    different_values: int
    sources: dict[str, int]


def statistics_of(table: Table) -> Statistics:
    """Entries by shape, by value and by source, the most frequent first."""
    shapes: Counter[str] = Counter()
    values: Counter[str] = Counter()
    per_source: Counter[str] = Counter()
    for _, raw in table.entries():
        entry = table.entry(raw)
        shapes[KINDS[table.kind].shape(entry.key)] += 1
        values[entry.value if entry.value is not None else "(no value)"] += 1
        per_source[entry.source] += 1
    return {
        "shapes": dict(shapes.most_common()),
        "values": dict(values.most_common(_MOST_COMMON)),
        "different_values": len(values),
        "sources": dict(per_source.most_common()),
    }
