"""Latency in microseconds, to within 1 %, in constant space: what locust's whole milliseconds cannot show.

HdrHistogram counts; its encoded form goes between processes, and into logs (.hlog) that the tools of HdrHistogram read.
Only this file imports hdrh.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogWriter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# HdrHistogram refuses what is above: such a latency counts as this one.
_HIGHEST_US: Final = 3_600_000_000
_DIGITS: Final = 2


class Histogram:
    """Counts latencies. Histograms add up, percentiles are read at the end."""

    def __init__(self, encoded: str = "") -> None:
        """Empty, or what `encoded` was made from."""
        self._counts = HdrHistogram.decode(encoded) if encoded else HdrHistogram(1, _HIGHEST_US, _DIGITS)

    def record(self, us: int, count: int = 1) -> None:
        """Count a latency, once or more often."""
        self._counts.record_value(min(max(us, 0), _HIGHEST_US), count)

    def add(self, other: Histogram) -> None:
        """Count everything that `other` has counted."""
        self._counts.add(other._counts)

    def encoded(self) -> str:
        """As text, for a file or another process."""
        text: bytes = self._counts.encode()
        return text.decode("ascii")

    @property
    def total(self) -> int:
        """How many latencies were counted."""
        return int(self._counts.get_total_count())

    def percentile(self, percent: float) -> int:
        """The latency that `percent` of all do not exceed, in microseconds; 0 when nothing was counted."""
        return int(self._counts.get_value_at_percentile(percent)) if self.total else 0

    def highest(self) -> int:
        """The largest latency, in microseconds."""
        return self.percentile(100)


def write_log(path: Path, seconds: Iterable[tuple[float, Histogram]]) -> None:
    """Write a log in HdrHistogram's format: a line for each second, which begins at a time since the epoch."""
    with path.open("w") as file:
        log = HistogramLogWriter(file)
        log.output_log_format_version()
        log.output_comment("Latency in microseconds, the maximum in milliseconds.")
        log.output_base_time(0)
        log.output_legend()
        for begin_s, histogram in seconds:
            log.output_interval_histogram(histogram._counts, begin_s, begin_s + 1, max_value_unit_ratio=1000.0)
