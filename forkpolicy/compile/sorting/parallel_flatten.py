"""Flatten a large table on every core: each child merges and flattens one part of the key space into a file.

Parts are cut where no entry reaches across: between keys, and for cidr between networks of the widest length that is
allowed (/8, IPv6 /16, and what is wide by nature at the end of IPv6). Where wider ones are allowed there is one part.
"""

from __future__ import annotations

import marshal
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.children import Children, core_count
from forkpolicy.compile.directory import writing
from forkpolicy.compile.sorting.external_sort import Run, merge_runs
from forkpolicy.compile.sorting.flatten import flatten
from forkpolicy.compile.sorting.tally import Pair, Tally
from forkpolicy.tables import keys
from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkpolicy.compile.sorting.sorted_store import SortedStore
    from forkpolicy.tables.format import Kind

# More parts than cores: the first can be written while the last are flattened, and unequal parts even out.
_PARTS_A_CORE: Final = 4

# Before each batch of a part's file.
_LENGTH: Final = struct.Struct("=Q")

_FAMILY_CHARS: Final = 2
_V4_CUT_CHARS: Final = _FAMILY_CHARS + keys.WIDEST_V4 // 4
_V6_CUT_CHARS: Final = _FAMILY_CHARS + keys.WIDEST_V6 // 4
# fc00::/7 and fe80::/10 stay in one piece.
_LOCAL_V6: Final = "36fc"


@dataclass(frozen=True, slots=True)
class _Part:
    number: int
    kind: Kind
    runs: tuple[Run, ...]
    low: str
    high: str
    path: Path
    tally: Tally


def flatten_in_parallel(kind: Kind, store: SortedStore, tally: Tally, *, is_wide: bool) -> Iterator[list[Pair]]:
    """As `flatten`, on every core. Raises CannotWriteError."""
    bounds = _bounds(kind, store.runs, 1 if is_wide else core_count() * _PARTS_A_CORE)
    runs = tuple(store.runs)
    parts = [
        _Part(number, kind, runs, low, high, store.new_file(), Tally(tally.source_names, tally.skip_bad))
        for number, (low, high) in enumerate(zip(["", *bounds], [*bounds, ""], strict=True))
    ]
    children: Children[_Part, tuple[int, Tally]] = Children(_flatten_part)
    try:
        yield from _in_order(parts, children, tally)
    finally:
        children.close()
        for part in parts:
            part.path.unlink(missing_ok=True)


def _in_order(parts: list[_Part], children: Children[_Part, tuple[int, Tally]], tally: Tally) -> Iterator[list[Pair]]:
    done: dict[int, Tally] = {}
    at = 0
    for number, counted in children.map(parts):
        done[number] = counted
        while at in done:
            tally.add(done[at])
            yield from _batches(parts[at].path)
            at += 1


def _bounds(kind: Kind, runs: list[Run], parts: int) -> list[str]:
    """Where the parts are cut, so that each has about as many records: from the marks of all runs."""
    marks = sorted(mark for run in runs for mark in run.marks)
    if not marks:
        return []
    found = {_cut(kind, marks[len(marks) * number // parts]) for number in range(1, parts)}
    return sorted(found)


def _cut(kind: Kind, record: str) -> str:
    if KINDS[kind].stores_ranges:
        return min(record[: _V4_CUT_CHARS if record[1] == "4" else _V6_CUT_CHARS], _LOCAL_V6)
    return record[: record.index("\0") + 1]


def _flatten_part(part: _Part) -> tuple[int, Tally]:
    """What a child does with a part."""
    with writing(part.path), part.path.open("xb") as file:
        for batch in flatten(part.kind, merge_runs(part.runs, part.low, part.high), part.tally):
            # marshal.load from a file takes every object with a read of its own: 1.5 us an entry.
            packed = marshal.dumps(batch)
            file.write(_LENGTH.pack(len(packed)) + packed)
    return part.number, part.tally


def _batches(path: Path) -> Iterator[list[Pair]]:
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            yield marshal.loads(file.read(*_LENGTH.unpack(head)))  # noqa: S302 - from our own child
    path.unlink()
