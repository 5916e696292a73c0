"""Day and time of day: English names and apolicy's letters, ranges over the end of the week and over midnight, `tz=`.

Local time is the worker's; `tz=Europe/Madrid` among the values of an ACL makes it that zone's, whatever TZ says.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import tzinfo

    from forkpolicy.policy.nodes import Word

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# apolicy's first spelling: Thursday is h, Saturday a.
LETTERS = "mtwhfas"
# Abbreviations of English that are letters of two days, too: what completes them, and the two days.
TWO_LETTERS = {"th": ("u", "Thursday and Tuesday"), "sa": ("t", "Saturday and Sunday")}
MINUTES_A_DAY = 24 * 60


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


def parse_times(text: str) -> tuple[int, int]:
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


def parse_zone(text: str) -> tzinfo:
    """The zone of a `tz=` value. Raises ValueError."""
    name = text.partition("=")[2]
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f'"{name}" is not a time zone of this system: expected a name such as Europe/Madrid'
        ) from error


def _is_day(text: str) -> bool:
    return len(text) >= 3 and any(day.startswith(text) for day in DAYS)


def _day(word: str, text: str) -> int:
    if not _is_day(word):
        raise ValueError(f'"{text}" is not a day: expected {", ".join(DAYS)}, a range of them, or letters of {LETTERS}')
    return next(number for number, day in enumerate(DAYS) if day.startswith(word))


class ClockMatcher(Matcher):
    """Days and spans of time that hold now."""

    clock: Callable[[], float]

    def __init__(
        self,
        days: list[tuple[frozenset[int], Word]],
        spans: list[tuple[tuple[int, int], Word]],
        zone: tzinfo | None,
        clock: Callable[[], float],
    ) -> None:
        self.days = days
        self.spans = spans
        self.zone = zone
        self.clock = clock

    def holds(self, *values: str) -> bool:  # noqa: ARG002 - the request says nothing here
        """Whether it is such a day or time."""
        return self._word() is not None

    def find(self, *values: str) -> Finding | None:  # noqa: ARG002 - as above
        """The day or span that it is."""
        word = self._word()
        return Finding(f"{word.text} at {self.now():%A %H:%M %Z}", word.place) if word else None

    def now(self) -> datetime:
        """The time that counts, in the zone that counts."""
        return datetime.fromtimestamp(self.clock(), UTC).astimezone(self.zone)

    def _word(self) -> Word | None:
        now = self.now()
        minute, weekday = now.hour * 60 + now.minute, now.weekday()
        for days, word in self.days:
            if weekday in days:
                return word
        for (start, end), word in self.spans:
            if start <= minute < end if start < end else minute >= start or minute < end:
                return word
        return None
