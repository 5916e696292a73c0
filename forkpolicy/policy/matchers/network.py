"""Addresses and networks that stand in a policy: one binary search whatever their number. Tables have more room."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.guards import Networks
from forkpolicy.policy.matchers.matcher import Finding, Matcher
from forkpolicy.tables.keys import IpRange, ip_key

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.guards import Guard
    from forkpolicy.policy.nodes import Word


class NetworkMatcher(Matcher):
    """Ranges of addresses. What is no address (`unknown`) is in none of them."""

    def __init__(self, attribute: str, ranges: list[tuple[IpRange, Word]]) -> None:
        self.attributes = (attribute,)
        self.ranges = ranges
        merged = _merge([each for each, _ in ranges])
        self._firsts = [first for first, _ in merged]
        self._lasts = [last for _, last in merged]

    def holds(self, *values: str) -> bool:
        """Whether the address is in one of the ranges."""
        key = ip_key(values[0])
        if key is None:
            return False
        at = bisect_left(self._lasts, key)
        return at < len(self._lasts) and self._firsts[at] <= key

    def guard(self) -> Guard:
        """Its ranges."""
        return Networks(self.attributes[0], [span for span, _ in self.ranges])

    def find(self, *values: str) -> Finding | None:
        """The first range, in the order of the policy, that has the address."""
        key = ip_key(values[0])
        if key is None:
            return None
        word = next((word for (first, last), word in self.ranges if first <= key <= last), None)
        return Finding(word.text, word.place) if word else None


def _merge(ranges: list[IpRange]) -> list[IpRange]:
    """The same addresses as disjoint ranges in order. Keys of the two families never overlap: they differ in byte
    one.
    """
    merged: list[IpRange] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
