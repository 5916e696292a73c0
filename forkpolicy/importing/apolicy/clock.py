"""`day` and `time`: letters of apolicy's first generation, names of its second, spans of a day. Raises Refused."""

from __future__ import annotations

from typing import Final

from forkpolicy.importing.apolicy.refused import Refused
from forkpolicy.policy.matchers.day import DAYS, LETTERS
from forkpolicy.policy.matchers.time_of_day import parse_times

# Every letter of it is one of a day.
_EITHER: Final = "sat"
_SHORTEST: Final = 3


def days_of(text: str) -> list[str]:
    """`mtwhf`, `SATURDAY`, `Tuesday-Friday` as names of days."""
    word = text.lower()
    if word == _EITHER:
        reason = "Saturday, or the letters of Sunday, Saturday and Tuesday: both were written so"
        raise Refused(reason, "day Saturday, or day Sunday Saturday Tuesday")
    start, dash, end = word.partition("-")
    if dash:
        return _range(_named(start, text), _named(end, text))
    if set(word) <= set(LETTERS):
        return [DAYS[LETTERS.index(letter)].capitalize() for letter in sorted(set(word), key=LETTERS.index)]
    return [_named(word, text).capitalize()]


def time_of(text: str) -> list[str]:
    """`08:00-17:00`, as it stands."""
    try:
        start, end = parse_times(text)
    except ValueError as error:
        raise Refused(str(error)) from error
    if start > end:
        raise Refused("whether apolicy's spans went over midnight is not documented", f"time {text}, if they did")
    return [text]


def _range(first: str, last: str) -> list[str]:
    if DAYS.index(first) > DAYS.index(last):
        nearest = f"day {first.capitalize()}-{last.capitalize()}, if they did"
        raise Refused("whether apolicy's ranges went over the end of the week is not documented", nearest)
    return [f"{first.capitalize()}-{last.capitalize()}"]


def _named(word: str, text: str) -> str:
    found = [day for day in DAYS if day.startswith(word)] if len(word) >= _SHORTEST else []
    if not found:
        raise Refused(f'"{text}" is not a day: expected {", ".join(DAYS)}, a range of them, or letters of {LETTERS}')
    return found[0]
