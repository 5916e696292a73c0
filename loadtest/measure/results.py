"""What a run saw: verdicts and latencies second by second, and the verdicts that were wrong. Small, and adds up.

Each process of a run has one `Results` and writes it to a file of its own; `merged` puts them together. Latency is in
microseconds (histogram.py).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loadtest.measure.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# Enough to see what went wrong; all of them are counted.
EXAMPLES = 50
SLOWEST = 5


@dataclass(slots=True)
class Second:
    """What was answered within one second of the run."""

    verdicts: Counter[str] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)


class Results:
    """Counts replies. `start_s` is the wall clock's time at which the run's first second begins."""

    def __init__(self, start_s: float | None = None) -> None:
        """Empty."""
        self.start_s = time.time() if start_s is None else start_s
        self.seconds: dict[int, Second] = {}
        self.kinds: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.wrong_count = 0
        self.lost: list[str] = []
        self.lost_count = 0
        self.late_us = 0
        # Recipients that were asked about once more, after a deferral.
        self.retried = 0
        # What was asked and answered, for an oracle that judges when the run is over.
        self.history: list[list[Any]] = []
        # Latency, second of the run, words; the slowest one last.
        self.slowest: list[tuple[int, float, str]] = []

    def verdict(self, kind: str, *, refused: bool, right: bool, latency_us: int, words: str) -> None:
        """One reply that was a verdict; `words` describe it where it was wrong or slow."""
        second = self._second()
        second.verdicts["refused" if refused else "passed"] += 1
        second.latency.record(latency_us)
        self.kinds[kind] += 1
        if len(self.slowest) < SLOWEST or latency_us > self.slowest[0][0]:
            self._keep_slowest([(latency_us, round(time.time() - self.start_s, 1), words)])
        if not right:
            second.verdicts["wrong"] += 1
            self.wrong_count += 1
            self.wrong = [*self.wrong, words][:EXAMPLES]

    def judged(self, wrong: Sequence[str]) -> None:
        """Wrong verdicts that are known only now."""
        self.wrong_count += len(wrong)
        self.wrong = [*self.wrong, *wrong][:EXAMPLES]

    def loss(self, words: str) -> None:
        """One request that got no verdict."""
        self._second().verdicts["lost"] += 1
        self.lost_count += 1
        self.lost = [*self.lost, words][:EXAMPLES]

    @property
    def replies(self) -> int:
        """How many verdicts there were."""
        return sum(self.kinds.values())

    def latency(self) -> Histogram:
        """All seconds together."""
        total = Histogram()
        for second in self.seconds.values():
            total.add(second.latency)
        return total

    def write(self, path: Path) -> None:
        """For `merged`."""
        seconds = {number: [dict(second.verdicts), second.latency.encoded()] for number, second in self.seconds.items()}
        rest = {
            name: getattr(self, name)
            for name in (
                *("start_s", "wrong", "wrong_count", "lost", "lost_count", "late_us", "slowest"),
                *("retried", "history"),
            )
        }
        path.write_text(json.dumps({**rest, "kinds": self.kinds, "seconds": seconds}))

    def add(self, other: dict[str, Any]) -> None:
        """Add what another process wrote."""
        for number, (verdicts, encoded) in other["seconds"].items():
            second = self.seconds.setdefault(int(number), Second())
            second.verdicts.update(verdicts)
            second.latency.add(Histogram(encoded))
        self.kinds.update(other["kinds"])
        self.wrong = [*self.wrong, *other["wrong"]][:EXAMPLES]
        self.lost = [*self.lost, *other["lost"]][:EXAMPLES]
        self.wrong_count += other["wrong_count"]
        self.lost_count += other["lost_count"]
        self.late_us = max(self.late_us, other["late_us"])
        self.retried += other["retried"]
        self.history += other["history"]
        self._keep_slowest([(us, at_s, words) for us, at_s, words in other["slowest"]])

    def _keep_slowest(self, more: list[tuple[int, float, str]]) -> None:
        self.slowest = sorted([*self.slowest, *more])[-SLOWEST:]

    def _second(self) -> Second:
        return self.seconds.setdefault(int(time.time() - self.start_s), Second())


def merged(paths: Iterable[Path]) -> Results:
    """All processes of a run together."""
    total = Results()
    for path in paths:
        total.add(json.loads(path.read_text()))
    return total
