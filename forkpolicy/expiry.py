"""The last day of an entry of a table, `until=2026-12-31`: it is served until that day is over, in local time.

Tables carry the day of the entry that expires first, as the text of its date: hosts that read them may be in another
time zone than the one that has compiled them. Pure but for `today`.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Final

UNTIL: Final = "until="
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# So early is said that an entry expires.
SOON: Final = timedelta(days=7)


def today() -> date:
    """The day that it is here."""
    return datetime.now().astimezone().date()


def parse_until(text: str) -> date:
    """The date behind `until=`. Raises ValueError."""
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(f'"{text}" is not a date: expected one as in {UNTIL}2026-12-31')


def is_over(last_day: str, now: date) -> bool:
    """Whether the day of a table's first entry to expire is over; never where none expires."""
    return bool(last_day) and date.fromisoformat(last_day) < now


def is_soon(last_day: str, now: date) -> bool:
    """Whether that day is over within a week."""
    return bool(last_day) and date.fromisoformat(last_day) - now <= SOON


def end_of(last_day: str) -> float:
    """When that day is over, in seconds since the epoch."""
    following = date.fromisoformat(last_day) + timedelta(days=1)
    return datetime(following.year, following.month, following.day).astimezone().timestamp()
