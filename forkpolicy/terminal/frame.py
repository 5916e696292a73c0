"""What a full screen shows, and what of it fits: pure, and without rich.

What does not fit is left out, never wrapped: words from the end of a line, columns by their rank, rows of the longest
table, whole tables from the last on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = 1
# A heading and one row: a table with less says nothing.
LEAST_TABLE_ROWS = 2
ROOMY_ROWS = 20


class Column(NamedTuple):
    """One column. `rank`: those with the highest go first where there is no room, 0 never. `marked`: sorted by it."""

    title: str
    width: int
    rank: int = 0
    is_text: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The last column gets what the others leave."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[str]]


class Word(NamedTuple):
    """A text and its style ("" or one of rich's)."""

    text: str
    style: str = ""


Line = tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """Lines, the most important first, tables and the line at the bottom."""

    head: tuple[Line, ...]
    tables: tuple[Table, ...]
    foot: Line


def fit(frame: Frame, columns: int, rows: int) -> Frame:
    """The part of a frame that fits."""
    head = frame.head[: max(1, rows - 1)]
    foot = frame.foot if rows > 1 else ()
    left = rows - len(head) - bool(foot)
    blanks = len(frame.tables) if rows >= ROOMY_ROWS else 0
    counts = shares([1 + len(table.rows) for table in frame.tables], left - blanks)
    tables = tuple(
        _narrowed(replace(table, rows=table.rows[: count - 1]), columns, len(table.rows))
        for table, count in zip(frame.tables, counts, strict=True)
        if count
    )
    return Frame(tuple(_cut(line, columns) for line in head), tables, _cut(foot, columns))


def shares(wanted: Sequence[int], rows: int) -> list[int]:
    """How many rows each table gets: first the least for each, in order, then one more in turn."""
    given = [0] * len(wanted)
    for number, rows_wanted in enumerate(wanted):
        if rows >= LEAST_TABLE_ROWS and rows_wanted >= LEAST_TABLE_ROWS:
            given[number] = LEAST_TABLE_ROWS
            rows -= LEAST_TABLE_ROWS
    while rows > 0 and (short := [n for n, count in enumerate(given) if 0 < count < wanted[n]]):
        for number in short[:rows]:
            given[number] += 1
        rows -= len(short)
    return given


def _narrowed(table: Table, columns: int, rows_in_all: int) -> Table:
    kept = list(range(len(table.columns)))
    while sum(table.columns[n].width + GAP for n in kept) > columns + GAP:
        droppable = [n for n in kept if table.columns[n].rank]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda n: table.columns[n].rank))
    shown = [table.columns[n] for n in kept]
    if len(table.rows) < rows_in_all:
        shown[-1] = shown[-1]._replace(title=f"{shown[-1].title} ({len(table.rows)} of {rows_in_all})")
    return Table(tuple(shown), [[row[n] for n in kept] for row in table.rows])


def _cut(line: Line, columns: int) -> Line:
    kept: list[Word] = []
    used = 0
    for word in line:
        used += len(word.text) + (2 if kept else 0)
        if kept and used > columns:
            break
        kept.append(word)
    return tuple(kept)
