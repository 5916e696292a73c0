"""A table of Markdown in man(7), readable on 80 columns.

One that is narrow enough is a table (tbl(1)). In any other each row is a paragraph: its first cell the tag, the others
below it, next to the names of their columns. The column `meaning` is text without a name, below all others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from manual.roff import filled, guarded, italic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from markdown_it.tree import SyntaxTreeNode

# 80 columns less the indent of a page, as man(1) shows it.
COLUMNS: Final = 71
GAP: Final = 2
_FONT: Final = re.compile(r"\\f[BIR]|\\&")
_CHARACTER: Final = re.compile(r"\\(?:\(..|\[\w+\]|-)")
# What a reader of such a list knows anyway.
_OBVIOUS: Final = {"", "meaning", "what"}


def table_lines(node: SyntaxTreeNode, inline: Callable[[SyntaxTreeNode], str]) -> Iterator[str]:
    """The lines of a table; `inline` gives the text of a cell."""
    head, *rows = [
        [inline(cell.children[0]) if cell.children else "" for cell in row.children]
        for part in node.children
        for row in part.children
    ]
    widths = [max(map(_width, column)) for column in zip(head, *rows, strict=True)]
    if sum(widths) + GAP * len(widths) <= COLUMNS and not _is_list(head):
        return _narrow(head, rows)
    return _wide(head, rows)


def _is_list(head: list[str]) -> bool:
    """Of options, files, statuses: what the second column has is clear from what the first one has."""
    return len(head) == 2 and head[1] in _OBVIOUS


def _width(text: str) -> int:
    return len(_CHARACTER.sub("x", _FONT.sub("", text)))


def _narrow(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield from (".PP", ".TS", "tab(\t);", f"{' '.join('l' * len(head))}.")
    if any(head):
        yield "\t".join(italic(each) if each else "" for each in head)
    for row in rows:
        yield guarded("\t".join(row))
    yield ".TE"


def _wide(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    if len(head) == 2 and not _is_list(head):
        yield from (".PP", f"{', '.join(italic(each) for each in head if each)}:")
    for tag, *cells in rows:
        yield from (".TP", guarded(tag))
        for number, line in enumerate(_described(head[1:], cells)):
            yield from (".br",) if number else ()
            yield from filled(line)


def _described(names: list[str], cells: list[str]) -> Iterator[str]:
    """The lines below a tag: a meaning with the facts in front of it, or each cell next to the name of its column."""
    named = [f"{_label(name)} {cell}" for name, cell in zip(names, cells, strict=True) if cell]
    if len(cells) > 1 and names[-1] not in _OBVIOUS:
        yield from named
        return
    facts = named[: -1 if cells[-1] else None]
    if facts:
        yield f"({', '.join(facts)})"
    if cells[-1]:
        yield cells[-1]


def _label(name: str) -> str:
    return italic(name if _FONT.sub("", name).endswith(":") else f"{name}:")
