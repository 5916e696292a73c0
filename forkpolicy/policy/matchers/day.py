"""`day`: English names and their beginnings, apolicy's letters, ranges over the end of the week too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.clock import ClockMatcher, clock_type
from forkpolicy.policy.matchers.extent import Extent

if TYPE_CHECKING:
    from datetime import datetime

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# apolicy's first spelling: Thursday is h, Saturday a.
LETTERS = "mtwhfas"
# Abbreviations of English that are letters of two days, too: what completes them, and the two days.
TWO_LETTERS = {"th": ("u", "Thursday and Tuesday"), "sa": ("t", "Saturday and Sunday")}


def parse_days(text: str) -> frozenset[int]:
    """`Monday`, `sat`, `Tuesday-Friday`, `fri-mon`, or apolicy's letters as in `mtwhf`; Monday is 0. Raises
    ValueError.
    """
    folded = text.casefold()
    if folded in TWO_LETTERS:
        one, both = TWO_LETTERS[folded]
        raise ValueError(f'"{text}" may be one day or two: write {folded}{one} for the day, {folded[::-1]} for {both}')
    start, dash, end = folded.partition("-")
    if dash:
        first, last = _day(start, text), _day(end, text)
        return frozenset((first + offset) % 7 for offset in range((last - first) % 7 + 1))
    if not _is_day(folded) and set(folded) <= set(LETTERS):
        return frozenset(LETTERS.index(letter) for letter in folded)
    return frozenset({_day(folded, text)})


def _is_day(text: str) -> bool:
    return len(text) >= 3 and any(day.startswith(text) for day in DAYS)


def _day(word: str, text: str) -> int:
    if not _is_day(word):
        raise ValueError(f'"{text}" is not a day: expected {", ".join(DAYS)}, a range of them, or letters of {LETTERS}')
    return next(number for number, day in enumerate(DAYS) if day.startswith(word))


class DayMatcher(ClockMatcher[frozenset[int]]):
    """Days of the week; Monday is 0."""

    def includes(self, value: frozenset[int], now: datetime) -> bool:
        """Whether it is one of these days."""
        return now.weekday() in value

    def covers(self) -> Extent:
        """Its days, in its zone."""
        space = f"day {self.zone_name}"
        return Extent(frozenset((space, day) for days, _ in self.values for day in days), space=space)


TYPE = clock_type(DayMatcher, parse_days, example="Monday-Friday")
