"""`size`, ports and other numbers: `10M` ("larger than", as in apolicy), `>N >=N <N <=N =N`, `N-M`; K, M, G of 1024."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.nodes import Word

SUFFIXES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
FORM = "a number (larger than it), >N, >=N, <N, <=N, =N or N-M, with K, M or G"
# More digits than any size, count or port has; a longer number is larger than all that a policy compares with.
MAX_DIGITS = 18

Interval = tuple[float, float]
"""Smallest and largest number that holds, both included."""


def parse_comparison(text: str) -> Interval:
    """The numbers that a value means. Raises ValueError."""
    if found := re.fullmatch(r"(\d+)([kmg]?)-(\d+)([kmg]?)", text, re.IGNORECASE | re.ASCII):
        low, high = _number(found[1], found[2]), _number(found[3], found[4])
        if low > high:
            raise ValueError(f"the range is reversed: did you mean {found[3]}{found[4]}-{found[1]}{found[2]}?")
        return low, high
    found = re.fullmatch(r"(>=|<=|>|<|=)?(\d+)([kmg]?)b?", text, re.IGNORECASE | re.ASCII)
    if not found:
        raise ValueError(f'"{text}" is not a comparison: expected {FORM}')
    number = _number(found[2], found[3])
    bounds = {">": (number + 1, float("inf")), ">=": (number, float("inf")), "<": (0, number - 1), "<=": (0, number)}
    return bounds.get(found[1] or ">", (number, number))


def _number(digits: str, suffix: str) -> int:
    return int(digits) * SUFFIXES[suffix.lower()]


class NumberMatcher(Matcher):
    """Comparisons of one attribute. A value that is not a number meets none."""

    def __init__(self, attribute: str, comparisons: list[tuple[Interval, Word]]) -> None:
        self.attributes = (attribute,)
        self.comparisons = comparisons

    def holds(self, *values: str) -> bool:
        """Whether one comparison holds."""
        return self._word(values[0]) is not None

    def find(self, *values: str) -> Finding | None:
        """The first comparison that holds."""
        word = self._word(values[0])
        return Finding(word.text, word.place) if word else None

    def covers(self) -> Extent:
        """Its intervals."""
        (name,) = self.attributes
        return Extent(spans=frozenset((name, low, high) for (low, high), _ in self.comparisons), space=name)

    def _word(self, value: str) -> Word | None:
        if not (value.isascii() and value.isdigit()):
            return None
        number = int(value) if len(value) <= MAX_DIGITS else float("inf")
        return next((word for (low, high), word in self.comparisons if low <= number <= high), None)


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    return [NumberMatcher(type_word.text.lower(), context.parsed(words, parse_comparison))]


TYPE = AclType(_build)
