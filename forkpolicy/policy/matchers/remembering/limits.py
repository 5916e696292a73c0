"""`100/1h 500/1d`: how much in which windows, in a policy and as the value of a table's entry. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from forkpolicy.durations import parse_duration
from forkpolicy.policy.matchers.number import SUFFIXES
from forkpolicy.state.questions.rate import Limit

if TYPE_CHECKING:
    from collections.abc import Iterable

FORM: Final = "LIMIT/WINDOW, as in 100/1h"
NO_LIMIT: Final = "-"
# As many windows as anybody needs; each is kept in the record.
MAX_LIMITS: Final = 8
REMEMBERED: Final = 4096
_LIMIT: Final = re.compile(r"(\d{1,15})([kmg]?)/(.+)", re.IGNORECASE | re.ASCII)


def parse_limit(text: str, form: str = FORM) -> Limit:
    """One limit; `form` is what a mistake says was expected. Raises ValueError."""
    found = _LIMIT.fullmatch(text)
    if not found:
        raise ValueError(f'"{text}" is not a valid limit: expected {form}')
    window_s = parse_duration(found[3])
    if not window_s:
        raise ValueError(f"{text}: a window of no time")
    return Limit(int(found[1]) * SUFFIXES[found[2].lower()], window_s)


def all_limits(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """Limits of one key, the shortest window first. Raises ValueError."""
    several = tuple(sorted(limits, key=lambda each: each.window_s))
    windows = [each.window_s for each in several]
    if len(set(windows)) < len(windows):
        raise ValueError("two limits have the same window: one of them is enough")
    if len(several) > MAX_LIMITS:
        raise ValueError(f"{len(several)} limits: {MAX_LIMITS} are possible")
    return several


@lru_cache(maxsize=REMEMBERED)
def parse_limits(value: str) -> tuple[Limit, ...]:
    """The value of a table's entry: limits with blanks between them, or `-` for none. Raises ValueError."""
    words = value.split()
    if words == [NO_LIMIT]:
        return ()
    if not words:
        raise ValueError(f"no limit: expected {FORM}, or - for no limit")
    return all_limits(map(parse_limit, words))
