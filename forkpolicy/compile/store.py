"""Records between parsing and flattening: in memory while they are few, in sorted runs on disk when they are many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.compile.directory import writing
from forkpolicy.compile.runs import merge_runs, write_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkpolicy.compile.directory import TablesDirectory

# 40 MB of texts; below it a table never touches the disk twice.
MAX_IN_MEMORY: Final = 300_000


class RecordStore:
    """Collects records of one table."""

    def __init__(self, directory: TablesDirectory, name: str) -> None:
        self._directory, self._name = directory, name
        self._records: list[str] = []
        self._runs: list[Path] = []
        self._numbers = 0
        self.count = 0

    def new_run(self) -> Path:
        """A name for a run that somebody else writes; `add_run` when it is there."""
        self._numbers += 1
        return self._directory.aside(self._name, f".run{self._numbers}")

    def add_run(self, path: Path, count: int) -> None:
        """Take in a run of `count` records."""
        self.count += count
        self._runs.append(path)

    def add(self, records: list[str]) -> None:
        """Take in records. Raises CannotWriteError."""
        self._records += records
        self.count += len(records)
        if len(self._records) >= MAX_IN_MEMORY:
            self._spill()

    @property
    def is_large(self) -> bool:
        """Whether the records are on disk."""
        return bool(self._runs)

    def blocks(self) -> Iterator[list[str]]:
        """All records in ascending order; empties the store. Raises CannotWriteError."""
        if not self._runs:
            self._records.sort()
            yield self._records
            self._records = []
            return
        if self._records:
            self._spill()
        with writing(self._directory.path):
            yield from merge_runs(self._runs)

    def _spill(self) -> None:
        path = self.new_run()
        self._records.sort()
        with writing(path):
            write_run(path, self._records)
        self._runs.append(path)
        self._records = []
