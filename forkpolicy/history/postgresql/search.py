"""Past decisions that meet a query, the newest first, from PostgreSQL; and the line of one.

The newest days are asked first, few at a time, so that most questions look at few partitions (and lock few: a server
has room for 6400 locks by default, and a day has 25). Each page is a statement of its own: between them nothing is held
that keeps a day from being dropped, since who reads what we print may take hours. Raises HistoryError.
"""

from __future__ import annotations

import re
import time
import weakref
import zlib
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.postgresql.access import STATEMENT_S, connected, in_words
from forkpolicy.history.postgresql.batch import key
from forkpolicy.history.postgresql.conditions import LAST_CHARACTER, OF_SCOPE, condition, times, values_of
from forkpolicy.history.postgresql.schema import DAY_MS, check_version, day_ms, days_in, has_tables
from forkpolicy.history.raw_lines import unpacked
from forkpolicy.history.schema import day_of, is_of_the_future, order_of
from forkpolicy.history.search import Found
from forkpolicy.postgresql_urls import parse_postgresql_url
from forkpolicy.tables.keys import ip_key, ip_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from forkpolicy.history.postgresql.conditions import Where
    from forkpolicy.history.query import Query
    from forkpolicy.history.scope import Scope
    from forkpolicy.history_settings import HistorySettings

_FIRST_PAGE: Final = 100
_LARGEST_PAGE: Final = 10_000
_MOST_DAYS: Final = 16
_BLOCKS_KEPT: Final = 8
_CURSOR: Final = re.compile(r"(-?[0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,9})")
_TOO_SLOW: Final = "; narrow it down with since: or another word"
# Of which names are suggested.
_NEWEST_DAYS: Final = 3
_NAMES: Final = (
    "SELECT DISTINCT {column} FROM forkpolicy.decisions WHERE at_ms >= %s AND {column} >= %s AND {column} < %s {where} "
    "ORDER BY 1 LIMIT %s"
)
# The texts of rules and sites come after the page is chosen, so that they cannot change how it is.
_PAGE: Final = """\
SELECT id, at_ms, rules.line, verb, acls, host, in_force, host(client), sender, recipient, login, queue, instance,
       block, found.line, is_cut
FROM (SELECT * FROM forkpolicy.decisions WHERE at_ms BETWEEN %s AND %s AND {where}
      AND (at_ms, block, line) < (%s, %s, %s) ORDER BY at_ms DESC, block DESC, line DESC LIMIT %s) AS found
JOIN forkpolicy.rules ON rules.n = rule JOIN forkpolicy.sites ON sites.n = site
ORDER BY at_ms DESC, block DESC, found.line DESC"""


class PostgresqlHistory:
    """What a server has. It connects when it is asked."""

    def __init__(self, settings: HistorySettings) -> None:
        self._settings = settings
        self._open: psycopg.Connection | None = None
        self._blocks: dict[tuple[str, int], list[bytes]] = {}

    def find(self, query: Query, most: int = 1 << 62) -> Iterator[Found]:
        """Decisions that meet a query, the newest first, at most so many."""
        yield from islice(self._every(query, most), min(most, 1 << 62))

    def raw(self, found: Found) -> bytes:
        """Its line as the log had it."""
        lines = self._blocks.get((found.day, found.block))
        if lines is None:
            lines = self._lines_of(found)
            if len(self._blocks) >= _BLOCKS_KEPT:
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[found.day, found.block] = lines
        if not lines[found.line]:
            raise HistoryError(f"the line of {found.id} cannot be read: it was forgotten meanwhile")
        return lines[found.line]

    def beginnings(self, text: str, most: int, scope: Scope | None = None) -> list[str]:
        """Addresses and domains of the newest days that begin so, folded and in order, at most so many."""
        columns = ("recipient", "login") if scope else ("recipient", "login", "sender")
        first, found = key(text.casefold()), set[str]()
        with in_words(self._settings.url, _TOO_SLOW):
            connection = self._connected()
            connection.execute("SET statement_timeout = 500")
            since_ms = int(time.time() * 1000) - _NEWEST_DAYS * DAY_MS
            where = f"AND {OF_SCOPE}" if scope else ""
            values = values_of(scope) if scope else []
            for column in columns:
                sql = _NAMES.format(column=column, where=where).encode()
                rows = connection.execute(sql, [since_ms, first, first + LAST_CHARACTER, *values, most])
                found.update(name for (name,) in rows if scope is None or scope.has_address(name))
        return sorted(found)[:most]

    def days(self, query: Query) -> list[str]:
        """The days within the query's time of which there is anything, the latest first."""
        since_ms, until_ms = times(query)
        with in_words(self._settings.url, _TOO_SLOW):
            days = [day for day, _ in days_in(self._connected(), time.time())]
        return [day for day in days if day_ms(day) <= until_ms and day_ms(day) + DAY_MS > since_ms]

    def gaps(self, query: Query) -> list[tuple[int, int, str]]:
        """When decisions are missing within the query's time, how many, and why."""
        sql = "SELECT at_ms, decisions, reason FROM forkpolicy.gaps WHERE at_ms BETWEEN %s AND %s ORDER BY at_ms"
        with in_words(self._settings.url, _TOO_SLOW):
            rows = self._connected().execute(sql, times(query)).fetchall()
        now_s = time.time()
        return sorted(rows, key=lambda row: order_of(day_of(row[0]), now_s), reverse=True)

    def _connected(self) -> psycopg.Connection:
        if not self._open or self._open.closed:
            self._open = connection = connected(self._settings, writes=False)
            # The caller need not know that there is something to close.
            weakref.finalize(self, connection.close)
            if not has_tables(connection):
                raise HistoryError(
                    f"{parse_postgresql_url(self._settings.url)}: there is no history (forkpolicy history ingest makes "
                    "it)"
                )
            check_version(connection)
        return self._open

    def _lines_of(self, found: Found) -> list[bytes]:
        sql = "SELECT lines FROM forkpolicy.blocks WHERE day = %s::date AND block = %s"
        with in_words(self._settings.url, _TOO_SLOW):
            row = self._connected().execute(sql, (found.day, found.block), binary=True).fetchone()
        try:
            lines = unpacked(row[0]) if row else []
        except zlib.error as error:
            raise HistoryError(f"the line of {found.id} cannot be read: {error}") from error
        if found.line >= len(lines):
            raise HistoryError(f"the line of {found.id} cannot be read: its day was removed meanwhile")
        return lines

    def _every(self, query: Query, most: int) -> Iterator[Found]:
        with in_words(self._settings.url, _TOO_SLOW):
            connection = self._connected()
            wait_s = min(max(query.give_up_s - time.monotonic(), 0.001), STATEMENT_S)
            connection.execute(f"SET statement_timeout = {int(wait_s * 1000) or 1}".encode())
            where = condition(connection, query)
            if not where:
                return
            now_s = time.time()
            days = [day for day, _ in days_in(connection, now_s)]
        before = _place(query.before)
        if before:
            last = order_of(day_of(before[0]), now_s)
            days = [day for day in days if order_of(day, now_s) <= last]
        until_now = [day for day in days if not is_of_the_future(day, now_s)]
        spans = [span for some in (until_now, days[len(until_now) :]) for span in _spans(some, *times(query))]
        for first_ms, last_ms in spans:
            is_within = before and first_ms <= before[0] <= last_ms
            for row in self._rows(where, first_ms, before if before and is_within else (last_ms + 1, 0, 0), most):
                found = _found(row)
                if time.monotonic() > query.give_up_s:
                    raise HistoryError(f"the search was given up at {found.time}, as it took long{_TOO_SLOW}")
                if not query.texts or query.texts_are_in(self.raw(found)):
                    yield found

    def _rows(self, where: Where, first_ms: int, last: tuple[object, ...], most: int) -> Iterator[Sequence[object]]:
        """Rows of a span, from its first moment to what is before `last`: a time, a block and a line."""
        sql = _PAGE.format(where=where.text).encode()
        limit = min(most, _FIRST_PAGE)
        while True:
            with in_words(self._settings.url, _TOO_SLOW):
                values = (first_ms, last[0], *where.values, *last, limit)
                rows = self._connected().execute(sql, values).fetchall()
            yield from rows
            if len(rows) < limit:
                return
            last, limit = (rows[-1][1], rows[-1][13], rows[-1][14]), min(limit * 4, _LARGEST_PAGE)


def _spans(days: Sequence[str], since_ms: int, until_ms: int) -> list[tuple[int, int]]:
    """First and last moment of the days to look at together: one, then more and more."""
    inside = [day for day in days if day_ms(day) <= until_ms and day_ms(day) + DAY_MS > since_ms]
    spans, at, number = [], 0, 1
    while some := inside[at : at + number]:
        spans.append((max(day_ms(some[-1]), since_ms), min(day_ms(some[0]) + DAY_MS - 1, until_ms)))
        at, number = at + number, min(number * 2, _MOST_DAYS)
    return spans


def _found(row: Sequence[object]) -> Found:
    # As _PAGE has them.
    found = Found(day_of(row[1]), *row)  # type: ignore[arg-type]
    key = ip_key(found.client) if found.client else None
    cursor = f"{found.at_ms}.{found.block}.{found.line}"
    return replace(found, client=ip_text(key) if key else found.client, cursor=cursor)


def _place(cursor: str) -> tuple[int, int, int] | None:
    """Time, block and line of a cursor; None where there is none. Raises HistoryError."""
    if not cursor:
        return None
    place = _CURSOR.fullmatch(cursor)
    if not place:
        raise HistoryError(f'"{cursor}" is not a place in this history')
    return int(place[1]), int(place[2]), int(place[3])
