"""A history of any size: its log is written part by part, and each part is taken in before the next one is made, so
that twenty million decisions need the room of their history alone.

What it costs is CPU of the ingester's code alone, commits and compressed lines included. Raises SetupError where it
took in another number of decisions than were written.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.decision_ids import decision_ids
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.store import Store
from loadtest.errors import SetupError
from loadtest.traffic.past_decisions import file_begins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.traffic.past_decisions import PastDecisions, Values

PART: Final = 50_000
DAY_S: Final = 86_400
_KEEP_DAYS: Final = 3650
# Decisions of which the values are kept, for questions that find them.
_SAMPLE: Final = 200


@dataclass(slots=True)
class Filled:
    """What has been taken in."""

    decisions: int = 0
    cpu_s: float = 0.0
    log_bytes: int = 0
    sample: list[Values] = field(default_factory=list)

    @property
    def cpu_us(self) -> float:
        """A decision."""
        return self.cpu_s / self.decisions * 1e6


class Filler:
    """Fills `folder`/history with the decisions of so many days, the last of which is today."""

    def __init__(self, folder: Path, past: PastDecisions, decisions: int, days: int) -> None:
        self.directory, self.filled = folder / "history", Filled()
        self._log, self._past, self._every, self._days = folder / "decisions.json", past, decisions, days
        self._begin_s = (int(time.time()) // DAY_S - days + 1) * DAY_S
        self._new_id, self._chance = decision_ids(), random.Random(1)

    def fill(self, until: int) -> Filled:
        """Go on until so many are in it."""
        before = self.filled.decisions
        ingester = Ingester(str(self._log), Store(str(self.directory)), _KEEP_DAYS, list[str]().append)
        try:
            while (missing := until - self.filled.decisions) > 0:
                self._write(min(missing, PART))
                started_s = time.process_time()
                ingester.turn()
                self.filled.cpu_s += time.process_time() - started_s
                if ingester.odd or ingester.decisions != self.filled.decisions - before:
                    raise SetupError(f"{ingester.decisions} decisions were taken in, {self.filled.decisions} written")
                for part in self._log.parent.glob(f"{self._log.name}*"):
                    part.unlink()
        finally:
            ingester.close()
        return self.filled

    def _write(self, count: int) -> None:
        span_s = self._days * DAY_S / self._every
        begin_s = self._begin_s + self.filled.decisions * span_s
        with self._log.open("wb") as log:
            log.write(file_begins(self._new_id(), begin_s))
            log.writelines(self._sampled(self._past.decisions(count, begin_s, count * span_s)))
            self.filled.log_bytes += log.tell()

    def _sampled(self, decisions: Iterator[tuple[Values, bytes]]) -> Iterator[bytes]:
        """The lines; each decision has the same chance to be in the sample."""
        filled = self.filled
        for values, line in decisions:
            filled.decisions += 1
            if len(filled.sample) < _SAMPLE:
                filled.sample.append(values)
            elif (place := int(self._chance.random() * filled.decisions)) < _SAMPLE:
                filled.sample[place] = values
            yield line

    def disk_bytes(self) -> int:
        """Of the history: decisions with their indexes, and the compressed lines."""
        return sum(entry.stat().st_size for entry in os.scandir(self.directory))
