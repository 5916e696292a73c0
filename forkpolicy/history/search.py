"""Past decisions that meet a query, the newest first, from the files of all days; and the line of one.

Each day is asked by an index for what the query has; a day that has no such address costs one look-up. Files are opened
read-only, and the writer need not run. Raises HistoryError where they cannot be read.
"""

from __future__ import annotations

import re
import sqlite3
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from forkpolicy.history.conditions import conditions, recent_condition
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.lines import time_text
from forkpolicy.history.names import names_beginning
from forkpolicy.history.query import Query
from forkpolicy.history.raw_lines import read_raw_line
from forkpolicy.history.schema import VERSION, day_of, day_path, days_in, order_of, raw_path
from forkpolicy.tables.keys import ip_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from forkpolicy.history.conditions import Where
    from forkpolicy.history.scope import Scope

_FIRST_PAGE: Final = 100
_LARGEST_PAGE: Final = 10_000
_LAST: Final = 1 << 62
# Of which names are suggested.
_NEWEST_DAYS: Final = 3
# Of SQLite's machine, between two looks at the clock: a millisecond.
_STEPS: Final = 20_000
NARROWER: Final = "narrow it down with since: or another word"
_CURSOR: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.([0-9]{1,18})")
# The rows of a page alone are joined with their texts, in an order that is ours: the decisions first. Recent decisions
# have their texts with them.
_SELECT: Final = (
    "SELECT decisions.n, decisions.id, at_ms, rules.line, verb, acls, host, in_force, {columns}, queue, instance, "
    "block, decisions.line, is_cut FROM "
    "(SELECT * FROM main.{table} AS decisions WHERE {where} AND n < ? ORDER BY n DESC LIMIT ?) AS decisions "
    "CROSS JOIN rules ON rules.n = rule CROSS JOIN sites ON sites.n = site {joins} ORDER BY decisions.n DESC"
)
_SETTLED: Final = {
    "table": "decisions",
    "columns": "address, senders.text, recipients.text, logins.text",
    "joins": (
        "LEFT JOIN clients ON clients.n = client LEFT JOIN names AS senders ON senders.n = sender "
        "LEFT JOIN names AS recipients ON recipients.n = recipient LEFT JOIN names AS logins ON logins.n = login"
    ),
}
_RECENT: Final = {"table": "recent", "columns": "client, sender, recipient, login", "joins": ""}


@dataclass(frozen=True, slots=True)
class Found:
    """One past decision, without its line. Addresses are folded; None: not known at that protocol state. `is_sure`:
    whether it is of the mail that was looked for, where the query does not say that. `cursor`: its place among all, for
    `Query.before`.
    """

    day: str
    id: str
    at_ms: int
    rule: str
    verb: str
    acls: str
    host: str
    in_force: str
    client: str | None
    sender: str | None
    recipient: str | None
    login: str | None
    queue_id: str | None
    instance: str | None
    block: int
    line: int
    is_cut: bool
    is_sure: bool = True
    cursor: str = ""

    @property
    def time(self) -> str:
        """As the log has it."""
        return time_text(self.at_ms)


class History:
    """The files of a directory."""

    def __init__(self, directory: str, clock: Callable[[], float] = time.time) -> None:
        self._directory, self._clock = directory, clock

    def find(self, query: Query, most: int = 1 << 62) -> Iterator[Found]:
        """Decisions that meet a query, the newest first, at most so many. A day that cannot be read is no reason to
        leave others out: HistoryError is raised behind the last decision.
        """
        yield from islice(self._find_in_all(query, most), min(most, sys.maxsize))

    def _find_in_all(self, query: Query, most: int) -> Iterator[Found]:
        unread = []
        last_day, last = _place(query.before)
        for day in self._days(query):
            if last_day and self._order(day) > self._order(last_day):
                continue
            if time.monotonic() > query.give_up_s:
                unread.append(f"the search was given up before {day}, as it took long: {NARROWER}")
                break
            try:
                yield from self._find_in(day, query, most, last if day == last_day else _LAST)
            except HistoryError as error:
                unread.append(str(error))
                if time.monotonic() > query.give_up_s:
                    break
        if unread:
            raise HistoryError("\n".join(unread))

    def raw(self, found: Found) -> bytes:
        """Its line as the log had it."""
        try:
            return self._raw(found)
        except (OSError, ValueError) as error:
            # Found before somebody was forgotten, it may stand elsewhere now.
            again = next(self.find(Query(ids=[found.id]), 1), None)
            if again is None:
                raise HistoryError(f"the line of {found.id} cannot be read: it was forgotten meanwhile") from error
            try:
                return self._raw(again)
            except (OSError, ValueError):
                raise HistoryError(f"the line of {found.id} cannot be read: {error}") from error

    def _raw(self, found: Found) -> bytes:
        return read_raw_line(raw_path(self._directory, found.day), found.block, found.line)

    def beginnings(self, text: str, most: int, scope: Scope | None = None) -> list[str]:
        """Addresses and domains of the newest days that begin so, folded and in order, at most so many."""
        found: set[str] = set()
        for day in self._days(Query())[:_NEWEST_DAYS]:
            with self._opened(day) as connection:
                try:
                    found.update(names_beginning(connection, text.casefold(), most, scope))
                except sqlite3.Error as error:
                    raise _unreadable(day_path(self._directory, day), error) from error
        return sorted(found)[:most]

    def days(self, query: Query) -> list[str]:
        """The days within the query's time of which there is a file, the latest first."""
        return self._days(query)

    def gaps(self, query: Query) -> list[tuple[int, int, str]]:
        """When decisions are missing within the query's time, how many, and why. A file that was set aside had any time
        of its day: its gap, at the begin of the day, is one of each part of the day.
        """
        sql = "SELECT * FROM gaps WHERE at_ms BETWEEN ? AND ? OR at_ms % 86400000 = 0 ORDER BY at_ms"
        found: list[tuple[int, int, str]] = []
        for day in self._days(query):
            with self._opened(day) as connection:
                times = (query.since_ms, query.until_ms)
                found += connection.execute(sql, times)
        return found

    def _days(self, query: Query) -> list[str]:
        try:
            days = days_in(self._directory, self._clock())
        except OSError as error:
            raise HistoryError(
                f"{self._directory} cannot be read: {(error.strerror or str(error)).lower()} ([history] path; "
                "forkpolicy history ingest fills it)"
            ) from error
        first, last = day_of(query.since_ms), day_of(min(query.until_ms, 1 << 45))
        return [day for day in days if first <= day <= last and not self._is_empty(day)]

    def _order(self, day: str) -> tuple[bool, str]:
        return order_of(day, self._clock())

    def _is_empty(self, day: str) -> bool:
        """Whether it was being made when its writer was killed or had no room, or is at this moment."""
        try:
            return not Path(day_path(self._directory, day)).stat().st_size
        except OSError:
            # Removed meanwhile; or it may not be looked at, which is said when it is opened.
            return False

    def _opened(self, day: str) -> closing[sqlite3.Connection]:
        path = day_path(self._directory, day)
        with ExitStack() as opening:
            try:
                connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)
                opening.callback(connection.close)
                connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
                (version,) = connection.execute("SELECT version FROM meta").fetchone()
            except (sqlite3.Error, TypeError) as error:
                raise _unreadable(path, error) from error
            if version != VERSION:
                raise HistoryError(f"{path} is of version {version}, and this program reads version {VERSION}")
            opening.pop_all()
        return closing(connection)

    def _find_in(self, day: str, query: Query, most: int, last: int) -> Iterator[Found]:
        with self._opened(day) as connection:
            unread = 0
            if query.give_up_s < inf:
                connection.set_progress_handler(lambda: time.monotonic() > query.give_up_s, _STEPS)
            try:
                for row in _rows(connection, query, most, last):
                    found = _found(day, row)
                    if time.monotonic() > query.give_up_s:
                        raise _given_up(found.time)
                    try:
                        if not query.texts or query.texts_are_in(self.raw(found)):
                            yield found
                    except HistoryError:
                        unread += 1
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                    raise _given_up(day) from error
                raise _unreadable(day_path(self._directory, day), error) from error
            if unread:
                path = raw_path(self._directory, day)
                raise HistoryError(f"{path} is damaged: {unread} decisions were not searched for the text")


_Row = tuple[int, *tuple[object, ...]]


def _rows(connection: sqlite3.Connection, query: Query, most: int, last: int) -> Iterator[_Row]:
    """Rows of a day before `last`, the newest first: the recent ones, then those that were settled before what has been
    read.
    """
    for row in _ordered(connection, _RECENT, recent_condition(query), most, last):
        yield row
        last = row[0]
    settled = [_ordered(connection, _SETTLED, where, most, last) for where in conditions(connection, query)]
    for row in merge(*settled, key=lambda row: row[0], reverse=True):
        # An address that is sender and recipient is found twice.
        if row[0] != last:
            yield row
        last = row[0]


def _ordered(
    connection: sqlite3.Connection, form: Mapping[str, str], where: Where, most: int, last: int
) -> Iterator[_Row]:
    """Rows of one table, the newest before `last` first. Each page is read at once: while rows are left to read, nobody
    can write to the day, and who reads what we print may take hours.
    """
    sql, limit = _SELECT.format(**form, where=where.text), min(most, _FIRST_PAGE)
    while rows := connection.execute(sql, (*where.values, last, limit)).fetchall():
        yield from rows
        if len(rows) < limit:
            return
        last, limit = rows[-1][0], min(limit * 4, _LARGEST_PAGE)


def _found(day: str, row: _Row) -> Found:
    # As _SELECT has them, behind the day.
    number, *columns = row
    found = Found(day, *columns)  # type: ignore[arg-type]
    address: object = found.client
    client = ip_text(address) if isinstance(address, bytes) else None
    return replace(found, client=client, is_cut=bool(found.is_cut), cursor=f"{day}.{number}")


def _place(cursor: str) -> tuple[str, int]:
    """The day and the number of a cursor; no day where there is none. Raises HistoryError."""
    if not cursor:
        return "", _LAST
    place = _CURSOR.fullmatch(cursor)
    if not place:
        raise HistoryError(f'"{cursor}" is not a place in this history')
    return place[1], int(place[2])


def _given_up(where: str) -> HistoryError:
    return HistoryError(f"the search was given up at {where}, as it took long: {NARROWER}")


def _unreadable(path: str, error: Exception) -> HistoryError:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY:
        return HistoryError(
            f"{path} was left by a process that was killed while it wrote: start forkpolicy history ingest, which "
            f"mends it ({error})"
        )
    return HistoryError(f"{path} cannot be read: {error}")
