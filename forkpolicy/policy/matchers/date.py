"""`date`: days of the calendar and ranges with both ends: `2026-12-24`, `2026-12-24..2027-01-06`; without a year
each year, over new year too: `12-24..01-06`.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.policy.matchers.clock import ClockMatcher, clock_type
from forkpolicy.policy.matchers.extent import Extent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from forkpolicy.errors import Diagnostic

FORM = "2026-12-24, 2026-12-24..2027-01-06, or for each year 12-24..01-06"
DAY = re.compile(r"(?:(\d{4})-)?(\d{2})-(\d{2})", re.ASCII)
# Other people's order: 24.12.2026 and 2026/12/24. Of 12/24/2026 nobody can tell in which order it is meant.
DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
SLASHED = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})", re.ASCII)
NEW_YEAR, NEW_YEARS_EVE = 101, 1231
LEAP_DAY = 229
# Any leap year has all days that a year can have.
A_LEAP_YEAR = 2024


class Dates(NamedTuple):
    """Days from `first` to `last`, both included. Of one year: their ordinals. Each year: month * 100 + day."""

    each_year: bool
    first: int
    last: int

    def include(self, now: datetime) -> bool:
        """Whether it is one of these days; a range of each year may go over new year."""
        today = now.month * 100 + now.day if self.each_year else now.toordinal()
        if self.first <= self.last:
            return self.first <= today <= self.last
        return today >= self.first or today <= self.last

    def spans(self) -> list[tuple[int, int]]:
        """The same without going over new year."""
        if self.first <= self.last:
            return [(self.first, self.last)]
        return [(self.first, NEW_YEARS_EVE), (NEW_YEAR, self.last)]


def parse_dates(text: str) -> Dates:
    """A day or a range. Raises ValueError."""
    start, dots, end = text.partition("..")
    (year, first), (last_year, last) = _day(start, text), _day(end if dots else start, text)
    if (year is None) is not (last_year is None):
        raise ValueError(f'"{text}" has a year at one end only: write it at both, or at none for each year')
    if year is not None and last < first:
        raise ValueError(f"the range is reversed: did you mean {end}..{start}?")
    if year is None and first == last == LEAP_DAY:
        raise ValueError("02-29 is a day of leap years only: write 02-28 or 03-01, or a range such as 02-28..02-29")
    return Dates(year is None, first, last)


def _day(word: str, text: str) -> tuple[int | None, int]:
    """The year if there is one, and the day as `Dates` has it."""
    found = DAY.fullmatch(word)
    if not found:
        raise ValueError(f'"{text}" is not a date: {_meant(text)}')
    month, day = int(found[2]), int(found[3])
    year = int(found[1]) if found[1] else None
    try:
        ordinal = date(A_LEAP_YEAR if year is None else year, month, day).toordinal()
    except ValueError as error:
        meant = f"{found[1]}-{found[3]}-{found[2]}" if found[1] else f"{found[3]}-{found[2]}"
        swapped = f": the month comes first, did you mean {meant}?" if month > 12 >= day else ""
        raise ValueError(f"no calendar has the day {word}{swapped}") from error
    return year, month * 100 + day if year is None else ordinal


def _meant(text: str) -> str:
    if found := DAY_FIRST.fullmatch(text):
        return f"did you mean {found[3]}-{found[2]:>02}-{found[1]:>02}?"
    if found := SLASHED.fullmatch(text):
        return f"did you mean {found[1]}-{found[2]:>02}-{found[3]:>02}?"
    return f"expected {FORM}"


class DateMatcher(ClockMatcher[Dates]):
    """Days of the calendar."""

    shown = "%Y-%m-%d %H:%M %Z"

    def includes(self, value: Dates, now: datetime) -> bool:
        """Whether it is such a day."""
        return value.include(now)

    def covers(self) -> Extent:
        """Its days in its zone. Days of one year and of each year are not compared."""
        spans = frozenset(
            (self._space(dates), first, last) for dates, _ in self.values for first, last in dates.spans()
        )
        spaces = {span[0] for span in spans}
        return Extent(spans=spans, space=spaces.pop() if len(spaces) == 1 else "")

    def _space(self, dates: Dates) -> str:
        return f"{'each year' if dates.each_year else 'date'} {self.zone_name}"

    def warnings(self) -> Iterator[Diagnostic]:
        """Dates that are over."""
        today = self.now().toordinal()
        for dates, word in self.values:
            if not dates.each_year and dates.last < today:
                yield word.warning(f"{word.text} is over and never holds again", "without the year it is each year's")


TYPE = clock_type(DateMatcher, parse_dates, example="2026-12-24..2027-01-06")
