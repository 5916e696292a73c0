"""The past requests that an exception can touch, the newest first, from the files of all days.

A day that cannot be read is named and left out, and so is a line. Where there are more than can be replayed, the newest
are taken.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.query import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from forkpolicy.history.place import Reader
    from forkpolicy.history.search import Found

DAY_MS: Final = 86_400_000


def _never() -> bool:
    return False


class Candidates:
    """Iterate once. Afterwards: `unreadable` says what could not be read and why, by day; `missing`: days between
    others of which there is nothing; `is_cut_short`: whether there were more than `most`, or `is_over` said so.
    """

    def __init__(
        self,
        history: Reader,
        queries: Sequence[Query] | None,
        since_ms: int,
        most: int,
        is_over: Callable[[], bool] = _never,
    ) -> None:
        self._history, self._most, self._is_over = history, most, is_over
        self._queries = [replace(each, since_ms=since_ms) for each in (queries or [Query()])]
        self.days = history.days(Query(since_ms=since_ms))
        self.missing = list(_missing(self.days))
        self.unreadable: dict[str, str] = {}
        self.is_cut_short = False
        self.oldest_ms = since_ms

    def __iter__(self) -> Iterator[tuple[Found, bytes]]:
        """Each decision once, with its line."""
        left = self._most
        for day in self.days:
            for found in self._of_day(day, left + 1):
                if not left or self._is_over():
                    self.is_cut_short = True
                    return
                left -= 1
                self.oldest_ms = found.at_ms
                try:
                    yield found, self._history.raw(found)
                except HistoryError as error:
                    self.unreadable[day] = str(error)

    def _of_day(self, day: str, most: int) -> Iterable[Found]:
        begin_ms = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)
        queries = [
            replace(each, since_ms=max(each.since_ms, begin_ms), until_ms=begin_ms + DAY_MS - 1)
            for each in self._queries
        ]
        try:
            if len(queries) == 1:
                yield from self._history.find(queries[0], most)
                return
            every = {found.id: found for query in queries for found in self._history.find(query, most)}
        except HistoryError as error:
            self.unreadable[day] = str(error)
            return
        yield from sorted(every.values(), key=lambda found: -found.at_ms)


def _missing(days: Sequence[str]) -> Iterator[str]:
    """The latest first."""
    for later, earlier in pairwise(days):
        day = date.fromisoformat(later) - timedelta(days=1)
        while str(day) > earlier:
            yield str(day)
            day -= timedelta(days=1)
