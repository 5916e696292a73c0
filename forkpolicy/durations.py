"""Durations as people write them (`90s`, `4m50s`, `2h`, `7d`), and seconds.

Pure. Policy, settings and commands read and show durations with this, so that all of them have one form.
"""

from __future__ import annotations

import re

UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
# A hundred years: a longer one is a slip of the keyboard, and ends of times must fit the 32 bits of a record.
LONGEST_S = 36500 * UNITS_S["d"]

_FORM = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII | re.IGNORECASE)
_EXPECTED = "expected a number and its unit, as in 90s, 5m, 2h or 7d"


def parse_duration(text: str) -> int:
    """The seconds of `text`: numbers with the units d, h, m and s, from the largest to the smallest.

    Raises ValueError whose message says what was expected.
    """
    found = _FORM.fullmatch(text)
    if not text or not found:
        hint = f": did you mean {text}s?" if text.isdecimal() and text.isascii() else f": {_EXPECTED}"
        raise ValueError(f'"{text}" is not a valid duration{hint}')
    # The sum would take long, and int() refuses, when somebody pastes thousands of digits.
    if len(text) > 40 or (seconds := _sum(found)) > LONGEST_S:
        raise ValueError(f'"{text[:40]}" is longer than the longest duration, {show_duration(LONGEST_S)}')
    return seconds


def _sum(found: re.Match[str]) -> int:
    return sum(int(number or 0) * unit_s for number, unit_s in zip(found.groups(), UNITS_S.values(), strict=True))


def show_duration(seconds: float) -> str:
    """The same as people write it, in whole seconds and the fewest units: `4m50s`, `1h`, `0s`."""
    left, words = round(seconds), ""
    for unit, unit_s in UNITS_S.items():
        number, left = divmod(left, unit_s)
        words += f"{number}{unit}" if number else ""
    return words or "0s"
