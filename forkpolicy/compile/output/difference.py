"""What a new table adds to the one in use and takes from it: for --dry-run.

Entries are compared as people read them, key and value, wherever they stand in which source. Sorted on disk when there
are many, like everything here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.sorting.sorted_store import SortedStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.compile.directory import TablesDirectory
    from forkpolicy.tables.reader import Table

_EXAMPLES: Final = 10
_CHUNK: Final = 10_000


@dataclass(slots=True)
class Difference:
    """How many entries come and go, and the first of each."""

    added: int = 0
    removed: int = 0
    added_examples: list[str] = field(default_factory=list)
    removed_examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """As `+12 -3`."""
        return f"+{self.added} -{self.removed}"

    def _add(self, text: str) -> None:
        self.added += 1
        if len(self.added_examples) < _EXAMPLES:
            self.added_examples.append(text)

    def _remove(self, text: str) -> None:
        self.removed += 1
        if len(self.removed_examples) < _EXAMPLES:
            self.removed_examples.append(text)

    def count(self, old: Iterator[str], new: Iterator[str]) -> None:
        """Go through two ascending sequences side by side."""
        left, right = next(old, None), next(new, None)
        while left is not None or right is not None:
            if left == right:
                left, right = next(old, None), next(new, None)
            elif right is None or (left is not None and left < right):
                self._remove(_readable(left or ""))
                left = next(old, None)
            else:
                self._add(_readable(right))
                right = next(new, None)


def compare(old: Table | None, new: Table, directory: TablesDirectory) -> Difference:
    """The difference between a table in use, if there is one, and a new one. Raises CannotWriteError."""
    difference = Difference()
    before = _sorted_texts(old, directory, f"{new.name}.old") if old else iter(())
    difference.count(before, _sorted_texts(new, directory, f"{new.name}.new"))
    return difference


def _sorted_texts(table: Table, directory: TablesDirectory, name: str) -> Iterator[str]:
    store = SortedStore(directory, name)
    chunk: list[str] = []
    for _, raw in table.entries():
        entry = table.entry(raw)
        chunk.append(_packed(f"{entry.key} {entry.value}" if entry.value is not None else entry.key))
        if len(chunk) == _CHUNK:
            store.add(chunk)
            chunk = []
    store.add(chunk)
    before = ""
    try:
        for block in store.blocks():
            for text in block:
                # The pieces of a network that others are nested in are one entry.
                if text != before:
                    yield text
                before = text
    finally:
        store.close()


def _packed(text: str) -> str:
    return text.replace("\n", " ").encode("utf-8", "surrogateescape").decode("latin-1")


def _readable(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "backslashreplace")
