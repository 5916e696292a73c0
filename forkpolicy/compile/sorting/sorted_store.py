"""Records between parsing and flattening: in memory while they are few, in sorted runs on disk when they are many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.compile.directory import writing
from forkpolicy.compile.sorting.external_sort import Run, merge_runs, write_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkpolicy.compile.directory import TablesDirectory

# 40 MB of texts; below it a table never touches the disk twice.
MAX_IN_MEMORY: Final = 300_000


class SortedStore:
    """Collects records of one table. `close` it in any case: it removes the runs."""

    def __init__(self, directory: TablesDirectory, name: str) -> None:
        self._directory, self._name = directory, name
        self._records: list[str] = []
        self._numbers = 0
        self.runs: list[Run] = []
        self.count = 0

    def new_file(self) -> Path:
        """A name for a run that a child writes (`add_run` when it is there), or for a file that is made of runs."""
        self._numbers += 1
        return self._directory.aside(self._name, f".{self._numbers}")

    def add_run(self, run: Run) -> None:
        """Take in a run."""
        self.count += run.count
        self.runs.append(run)

    def add(self, records: list[str]) -> None:
        """Take in records. Raises CannotWriteError."""
        self._records += records
        self.count += len(records)
        if len(self._records) >= MAX_IN_MEMORY:
            self._spill()

    def settle(self) -> bool:
        """Nothing more comes; whether the records are on disk, all of them then. Raises CannotWriteError."""
        if self.runs and self._records:
            self._spill()
        return bool(self.runs)

    def blocks(self) -> Iterator[list[str]]:
        """All records in ascending order. Raises CannotWriteError."""
        if self.settle():
            with writing(self._directory.path):
                yield from merge_runs(self.runs)
        else:
            self._records.sort()
            yield self._records

    def close(self) -> None:
        """Remove the runs."""
        for run in self.runs:
            run.path.unlink(missing_ok=True)
        self.runs, self._records = [], []

    def _spill(self) -> None:
        path = self.new_file()
        self._records.sort()
        with writing(path):
            self.runs.append(write_run(path, self._records))
        self._records = []
