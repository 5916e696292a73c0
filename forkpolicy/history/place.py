"""What a place that keeps past decisions can do, for the one who writes and for those who read.

A directory of SQLite files is one (store.py, search.py); opening.py knows which the settings name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.history.lines import Line
    from forkpolicy.history.query import Query
    from forkpolicy.history.scope import Scope
    from forkpolicy.history.search import Found


class Writer(Protocol):
    """Keeps lines of the log and how far it was read, both or neither. Any of it raises OSError, sqlite3.Error or
    UnavailableError: then `forget`, and everything from `position` on can be tried again.
    """

    def begin(self) -> bool:
        """Before `position`: begin what `commit` or `forget` ends. False: not now, others change what is kept."""
        ...

    def position(self, file: str) -> int:
        """How far a file of the log was taken in, in bytes."""
        ...

    def add(self, file: str, lines: Sequence[tuple[int, Line]]) -> None:
        """Lines of a file, each with the offset behind it."""
        ...

    def commit(self) -> None:
        """Keep everything that was added."""
        ...

    def forget(self) -> None:
        """Give up what was added since the last commit."""
        ...

    def mend(self, error: Exception, now_s: float) -> list[str]:
        """After an error and `forget`: mend what only the writer can; what was done, for an operator."""
        ...

    def remove_old_days(self, keep_days: int, now_s: float) -> list[str]:
        """Remove what is older than `keep_days` whole days; the days that are gone."""
        ...

    def close(self) -> None:
        """What was not committed is given up."""
        ...


class Reader(Protocol):
    """Finds decisions. Raises HistoryError."""

    def find(self, query: Query, most: int = 1 << 62) -> Iterator[Found]:
        """Decisions that meet a query, the newest first, at most so many."""
        ...

    def raw(self, found: Found) -> bytes:
        """Its line as the log had it."""
        ...

    def beginnings(self, text: str, most: int, scope: Scope | None = None) -> list[str]:
        """Addresses and domains of the newest days that begin so, folded and in order, at most so many."""
        ...

    def days(self, query: Query) -> list[str]:
        """The UTC days within the query's time of which there is anything, the latest first."""
        ...

    def gaps(self, query: Query) -> list[tuple[int, int, str]]:
        """When decisions are missing within the query's time, how many, and why."""
        ...
