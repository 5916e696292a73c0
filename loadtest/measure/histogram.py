"""Latency in microseconds, to within 1.6 %, in constant space: what locust's whole milliseconds cannot show.

The layout is that of HdrHistogram with 64 sub-buckets, and the same as in native/generate.c: microseconds below 128 are
exact, above there are 64 buckets for every power of two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKETS = 2048
EXACT = 128
SUB_BUCKETS = 64


def bucket_of(us: int) -> int:
    """The bucket that counts a latency."""
    if us < EXACT:
        return max(us, 0)
    exponent = us.bit_length() - 7
    return min(EXACT + (exponent - 1) * SUB_BUCKETS + (us >> exponent) - SUB_BUCKETS, BUCKETS - 1)


def lowest_of(bucket: int) -> int:
    """The smallest latency that a bucket counts."""
    if bucket < EXACT:
        return bucket
    exponent, rest = divmod(bucket - EXACT, SUB_BUCKETS)
    return (rest + SUB_BUCKETS) << (exponent + 1)


class Histogram:
    """Counts by bucket. Adding is cheap, histograms add up, percentiles are read at the end."""

    def __init__(self, counts: Iterable[tuple[int, int]] = ()) -> None:
        """Empty, or with pairs of bucket and count as `pairs` gives them."""
        self._counts = [0] * BUCKETS
        for bucket, count in counts:
            self._counts[bucket] += count

    def record(self, us: int) -> None:
        """Count one latency."""
        self._counts[bucket_of(us)] += 1

    def add(self, other: Histogram) -> None:
        """Count everything that `other` has counted."""
        self._counts = [mine + others for mine, others in zip(self._counts, other._counts, strict=True)]

    def pairs(self) -> list[tuple[int, int]]:
        """The buckets that are not empty, for a file or another process."""
        return [(bucket, count) for bucket, count in enumerate(self._counts) if count]

    @property
    def total(self) -> int:
        """How many latencies were counted."""
        return sum(self._counts)

    def percentile(self, percent: float) -> int:
        """The latency that `percent` of all do not exceed, in microseconds; 0 when nothing was counted."""
        wanted = self.total * percent / 100
        seen = 0
        for bucket, count in self.pairs():
            seen += count
            if seen >= wanted:
                return lowest_of(bucket)
        return 0

    def highest(self) -> int:
        """The largest latency, in microseconds."""
        return self.percentile(100)
