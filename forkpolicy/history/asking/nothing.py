"""Why nothing may have been found: what a history has, and what it never has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.history.lines import time_text
from forkpolicy.history.query import Query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.history.place import Reader
    from forkpolicy.history_settings import HistorySettings

_DAY_MS: Final = 86_400_000


def hints(history: Reader, settings: HistorySettings, now_s: float) -> Iterator[str]:
    """Sentences for the user."""
    newest = next(history.find(Query(), 1), None)
    if newest is None:
        yield "the history is empty: does [history] log name a file, and does forkpolicy history ingest run?"
        return
    first = _first_day(history, settings.keep_days, int(now_s * 1000))
    yield f"the history begins on {first}; its newest decision is of {newest.time}"
    if settings.decisions == "acted":
        yield '[history] decisions is "acted": it has no mail that no rule acted on: history mail finds those'


def _first_day(history: Reader, keep_days: int, now_ms: int) -> str:
    """The day of its oldest decision: halves the days that are kept, as each place finds the newest decision first."""
    end_ms = now_ms // _DAY_MS * _DAY_MS + _DAY_MS - 1
    low, high = 0, keep_days + 2
    while low < high:
        middle = (low + high) // 2
        if next(history.find(Query(until_ms=end_ms - middle * _DAY_MS), 1), None):
            low = middle + 1
        else:
            high = middle
    return time_text(end_ms - max(low - 1, 0) * _DAY_MS)[:10]
