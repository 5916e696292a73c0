"""External sort: sorted runs of records in temporary files, merged block by block.

Five million records are 700 MB as Python texts but 250 MB on disk. The merge takes from every run what is not above
the smallest last record in memory, and lets `list.sort` merge those pieces: it finds the sorted stretches by itself
and works at C speed, where `heapq.merge` costs a microsecond and a half for each record.

Every run knows where some of its records stand, so that several processes can each merge a part of all runs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_READ_BYTES: Final = 1 << 18
_MARK_EVERY: Final = 1 << 11


@dataclass(frozen=True, slots=True)
class Run:
    """A file of ascending records. `marks` are every so-manieth record, `offsets` where they begin."""

    path: Path
    count: int
    marks: tuple[str, ...]
    offsets: tuple[int, ...]

    def offset_before(self, bound: str) -> int:
        """Where to begin reading in order not to miss the first record that is not below `bound`."""
        at = bisect_left(self.marks, bound)
        return self.offsets[at - 1] if at else 0


def write_run(path: Path, records: list[str]) -> Run:
    """Write sorted records as one run. Raises OSError."""
    marks, offsets, at = [], [], 0
    with path.open("xb") as file:
        for start in range(0, len(records), _MARK_EVERY):
            piece = records[start : start + _MARK_EVERY]
            marks.append(piece[0])
            offsets.append(at)
            at += file.write(("\n".join(piece) + "\n").encode("latin-1"))
    return Run(path, len(records), tuple(marks), tuple(offsets))


class _Reader:
    """What of a run is in memory: `records`, ascending, from `low` on and below `high` (empty: to the end)."""

    def __init__(self, run: Run, low: str, high: str) -> None:
        self._file = run.path.open("rb")
        self._file.seek(run.offset_before(low))
        self._high = high
        self._rest = b""
        self.at_end = False
        self.records: list[str] = []
        self.fill()
        while self.records and self.records[0] < low:
            self.take_below(low)

    def take_below(self, low: str) -> None:
        """Pass over the records below `low`."""
        self.records = self.records[bisect_left(self.records, low) :]
        self.fill()

    def fill(self) -> None:
        """Read on until there is something in memory or the run is at its end."""
        while not self.records and not self.at_end:
            data = self._file.read(_READ_BYTES)
            if not data:
                self._end()
                return
            whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
            if newline:
                self.records = whole.decode("latin-1").split("\n")
                if self._high and self.records[-1] >= self._high:
                    self.records = self.records[: bisect_left(self.records, self._high)]
                    self._end()

    def _end(self) -> None:
        self.at_end = True
        self._file.close()

    def take(self, bound: str | None) -> list[str]:
        """Remove and return the records up to and with `bound`; None: all."""
        cut = len(self.records) if bound is None else bisect_right(self.records, bound)
        taken, self.records = self.records[:cut], self.records[cut:]
        self.fill()
        return taken


def merge_runs(runs: Sequence[Run], low: str = "", high: str = "") -> Iterator[list[str]]:
    """The records of all runs from `low` on and below `high`, ascending, in blocks. Raises OSError."""
    readers = [_Reader(run, low, high) for run in runs]
    while readers := [reader for reader in readers if reader.records]:
        # A run that is still being read holds the others back to what it has shown so far.
        bound = min((reader.records[-1] for reader in readers if not reader.at_end), default=None)
        block = [record for reader in readers for record in reader.take(bound)]
        block.sort()
        yield block
