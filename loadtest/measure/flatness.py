"""Whether what lives through a whole run gets larger: memory and descriptors of each process, early and late.

Pure arithmetic on samples (sampler.py). A process that was born later, or died before, is not looked at. Memory is the
anonymous part: the share of pages that processes have in common grows whenever one of them ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtest.measure.sampler import Sample

# A process that is 20 % larger in the last quarter than in the first is not flat.
GROWTH = 1.2
# What comes before is warm-up: tables are read for the first time, buffers find their size.
WARM_UP_PART = 0.1
# A quarter with fewer samples says nothing.
LEAST_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Life:
    """One process: the most that it had in the first and in the last quarter of the run."""

    title: str
    early_kib: int
    late_kib: int
    early_descriptors: int
    late_descriptors: int

    def grown(self, *, spare_descriptors: int) -> bool:
        """Whether it has; so many descriptors more or less are no growth."""
        more = self.late_descriptors - self.early_descriptors
        return self.late_kib > self.early_kib * GROWTH or more > spare_descriptors


def lives(samples: Sequence[Sample], titles: Mapping[int, str]) -> list[Life]:
    """The processes that lived from the end of the warm-up to the end. Empty where the run was too short."""
    rest = samples[int(len(samples) * WARM_UP_PART) :]
    quarter = len(rest) // 4
    if quarter < LEAST_SAMPLES:
        return []
    there = set.intersection(*(set(sample.anonymous_kib) for sample in rest))
    return [_life(pid, titles.get(pid, str(pid)), rest[:quarter], rest[-quarter:]) for pid in sorted(there)]


def _life(pid: int, title: str, early: Sequence[Sample], late: Sequence[Sample]) -> Life:
    memory = [max(sample.anonymous_kib[pid] for sample in part) for part in (early, late)]
    descriptors = [max(sample.descriptors[pid] for sample in part) for part in (early, late)]
    return Life(title, *memory, *descriptors)


def table(found: Sequence[Life]) -> list[str]:
    """As text."""
    if not found:
        return ["Too short to say whether memory and descriptors are flat."]
    lines = [f"{'most of a quarter':<18}{'MiB, first':>11}{'last':>8}{'descriptors, first':>20}{'last':>6}"]
    lines += [
        f"{life.title:<18}{life.early_kib / 1024:>11.1f}{life.late_kib / 1024:>8.1f}"
        f"{life.early_descriptors:>20}{life.late_descriptors:>6}"
        for life in found
    ]
    return lines
