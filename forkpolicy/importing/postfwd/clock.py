"""`date`, `time`, `days` and `months` as types of ours. Pure. Raises CannotError and NeverError.

postfwd compares numbers made of what is written: no span goes over midnight, the end of a week or of a year.
"""

from __future__ import annotations

import re
from typing import Final

from forkpolicy.importing.postfwd.cannot import CannotError, NeverError

_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LAST_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DATE = re.compile(r"(\d{2})\.(\d{2})\.(\d{4})", re.ASCII)
_TIME = re.compile(r"(\d{2}):(\d{2}):(\d{2})", re.ASCII)
_BEGIN, _END = "2000-01-01", "2999-12-31"
END_OF_TIME = "the last second of a span of time: postfwd includes it, a span here ends a minute at its second 0"


def clock_values(key: str, text: str) -> tuple[str, list[str], str]:
    """The type of ours, its values, and what is to be known about them."""
    start, dash, end = (part.strip() for part in text.partition("-"))
    if key == "date":
        return "date", [_dates(start, end, bool(dash))], ""
    if key == "time":
        return _times(start, end if dash else start)
    if key == "days":
        return "day", [_DAYS[day] for day in _numbers(start, end, bool(dash), _DAYS, text)], ""
    months = _numbers(start, end, bool(dash), _MONTHS, text)
    return "date", [f"{month + 1:02}-01..{month + 1:02}-{_LAST_DAYS[month]}" for month in months], ""


def _dates(start: str, end: str, is_range: bool) -> str:
    first = _date(start) if start else _BEGIN
    last = _date(end) if end else _END if is_range else first
    if not start and not end:
        raise CannotError("a range of dates without ends")
    # With one end, the other is the day of the request: that end alone decides.
    if last < first:
        raise NeverError(f"{start}-{end} is reversed")
    return first if first == last else f"{first}..{last}"


def _date(text: str) -> str:
    found = _DATE.fullmatch(text)
    if not found:
        raise CannotError(f'the date "{text}": postfwd compares its digits as a number and needs DD.MM.YYYY')
    return f"{found[3]}-{found[2]}-{found[1]}"


def _times(start: str, end: str) -> tuple[str, list[str], str]:
    first = _seconds(start) if start else 0
    last = _seconds(end) if end else 24 * 3600 - 1
    if last < first:
        raise NeverError(f"{start}-{end} goes over midnight, which its comparison of numbers does not")
    note = ""
    if last % 60 == 59:
        last += 1
    elif last % 60 == 0:
        note = END_OF_TIME
    if first % 60 or last % 60 or first == last:
        raise CannotError("a span of seconds", "time compares whole minutes")
    return "time", [f"{_clock(first)}-{_clock(last)}"], note


def _seconds(text: str) -> int:
    found = _TIME.fullmatch(text)
    if not found or int(found[1]) > 23 or int(found[2]) > 59 or int(found[3]) > 59:
        raise CannotError(f'the time "{text}": postfwd compares its digits as a number and needs HH:MM:SS')
    return int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}"


def _numbers(start: str, end: str, is_range: bool, names: tuple[str, ...], text: str) -> list[int]:
    """The numbers that are met, tried one by one. "0" is nothing to Perl: that end is the day of the request."""
    low, high = _end(start, names), _end(end, names)
    last = low if high is None and not is_range else high
    met = [now for now in range(len(names)) if (low is None or low <= now) and (last is None or now <= last)]
    if not met:
        raise NeverError(f"{text} goes over the end, which its comparison of numbers does not")
    return met


def _end(text: str, names: tuple[str, ...]) -> int | None:
    if text in ("", "0"):
        return None
    if len(text) == 1 and text.isascii() and text.isdigit():
        return int(text)
    if text.lower() in names and text in (text.lower(), text.upper(), text.title()):
        return names.index(text.lower())
    raise CannotError(f'"{text}": postfwd knows names of three letters and single digits here')
