"""The source of a table that an importer writes: one entry a line, behind it where it comes from.

An entry that the table would refuse is left out, with the reason: a compile refuses the whole of a file with one wrong
line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.importing.left_out import LeftOut, Origin
from forkpolicy.tables.format import COLUMN_SEPARATOR
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.kinds.kind import SourceKey

if TYPE_CHECKING:
    from collections.abc import Iterable


class TableEntry(NamedTuple):
    """One entry; `value` is the rest of its line. The columns of a key are joined by COLUMN_SEPARATOR. `until`: the
    last day on which it counts, YYYY-MM-DD.
    """

    key: str
    value: str | None = None
    origin: Origin | None = None
    until: str = ""


# A comment of the source keeps its place.
TableLine = TableEntry | str


def table_text(kind: str, lines: Iterable[TableLine]) -> tuple[str, int, list[LeftOut]]:
    """The text, the number of entries, and what cannot be an entry."""
    written: list[str] = []
    left_out: list[LeftOut] = []
    entries = 0
    for line in lines:
        if isinstance(line, str):
            written += [f"# {each}".rstrip() for each in line.splitlines()] or ["#"]
            continue
        try:
            written.append(_line_of(kind, line))
            entries += 1
        except ValueError as error:
            left_out.append(LeftOut(line.origin or Origin("?"), line.key.replace(COLUMN_SEPARATOR, " "), str(error)))
    return "".join(f"{line}\n" for line in written), entries, left_out


def _line_of(kind: str, entry: TableEntry) -> str:
    """Raises ValueError for what the line would not say."""
    KINDS[kind].sort_keys(SourceKey(entry.key, entry.value or "", _nothing, allow_wide=True))
    words = [*map(_key, entry.key.split(COLUMN_SEPARATOR)), *([_value(entry.value)] if entry.value else [])]
    if entry.until:
        words.append(f"until={entry.until}")
    if entry.origin:
        words.append(f" # {entry.origin}")
    return " ".join(words)


def _key(key: str) -> str:
    if '"' in key or not key.isprintable():
        raise ValueError("a key with a quote or a control character")
    if any(char.isspace() for char in key) or key[0] in "#;" or "," in key:
        return f'"{key}"'
    return key


def _value(value: str) -> str:
    text = " ".join(value.split())
    if any(word[0] in "#;" for word in text.split()):
        raise ValueError('a word of the value begins with "#" or ";", which begins a comment in a table')
    if not text.isprintable():
        raise ValueError("a control character in the value")
    return f'"{text}"' if text[0] == text[-1] == '"' or "until=" in text else text


def _nothing(_note: str) -> None:
    pass
