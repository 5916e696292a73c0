"""`time`: spans of a day such as `08:00-17:00`, over midnight too (`22:00-06:00`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.clock import ClockMatcher, clock_type
from forkpolicy.policy.matchers.extent import Extent

if TYPE_CHECKING:
    from datetime import datetime

MINUTES_A_DAY = 24 * 60

Minutes = tuple[int, int]
"""Start and end of a span in minutes since midnight, the end not included; it may lie before the start."""


def parse_times(text: str) -> Minutes:
    """`08:00-17:00` as minutes since midnight; the end is not included, and may lie before the start. ValueError."""
    found = re.fullmatch(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", text, re.ASCII)
    if not found:
        raise ValueError(f'"{text}" is not a span of time: expected 08:00-17:00')
    hours_minutes = [int(number) for number in found.groups()]
    start, end = hours_minutes[0] * 60 + hours_minutes[1], hours_minutes[2] * 60 + hours_minutes[3]
    if max(hours_minutes[1], hours_minutes[3]) > 59 or start >= MINUTES_A_DAY or end > MINUTES_A_DAY:
        raise ValueError(f'"{text}" has no such time of day: expected 00:00 to 24:00')
    if start == end:
        raise ValueError(f'"{text}" is empty: the end is not included; a whole day is 00:00-24:00')
    return start, end


class TimeMatcher(ClockMatcher[Minutes]):
    """Spans of a day."""

    def includes(self, value: Minutes, now: datetime) -> bool:
        """Whether it is such a time."""
        minute = now.hour * 60 + now.minute
        start, end = value
        return start <= minute < end if start < end else minute >= start or minute < end

    def covers(self) -> Extent:
        """Its minutes, in its zone; what goes over midnight is two spans."""
        space = f"time {self.zone_name}"
        whole = [span for (start, end), _ in self.values for span in _within_a_day(start, end)]
        return Extent(spans=frozenset((space, first, last) for first, last in whole), space=space)


def _within_a_day(start: int, end: int) -> list[tuple[int, int]]:
    if start < end:
        return [(start, end - 1)]
    return [(start, MINUTES_A_DAY - 1), *([(0, end - 1)] if end else [])]


TYPE = clock_type(TimeMatcher, parse_times, example="08:00-17:00")
