"""Writes the decisions of one host's log to PostgreSQL, and how far the log was read, in one transaction.

A transaction first takes the row of the file's position, and goes on only if it is where these lines begin. So nothing
is lost or doubled whatever ends when: a commit whose answer never came is waited for by the process that takes the row
next, and then either the position has moved, or nothing of it was written. Two hosts have files of their own; what
they share (rules, sites, days) is made before, each in a transaction of its own, so that nobody waits in a circle.

Everything is kept in memory until the commit: one batch, as much as the ingester adds. Raises UnavailableError.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import psycopg

from forkpolicy.history.day import SLOT_MS
from forkpolicy.history.errors import UnavailableError
from forkpolicy.history.postgresql.access import connected, in_words
from forkpolicy.history.postgresql.batch import Batch
from forkpolicy.history.postgresql.schema import (
    day_ms,
    days_in,
    forgotten_of,
    make_days,
    make_tables,
    partition,
    remove_day,
)
from forkpolicy.history.rollups import KEEP_ROLLUPS_DAYS
from forkpolicy.history.schema import is_of_the_future

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.history.lines import Line
    from forkpolicy.history.postgresql.batch import Day, Texts
    from forkpolicy.history_settings import HistorySettings

_ROLLUP: Final = (
    "INSERT INTO forkpolicy.rollups AS old SELECT * FROM unnest(%s::bigint[], %s::integer[], %s::text[], %s::bigint[]) "
    "ON CONFLICT (slot, rule, host) DO UPDATE SET decisions = old.decisions + excluded.decisions"
)
_GAP: Final = "INSERT INTO forkpolicy.gaps SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[])"
_ODD: Final = (
    'INSERT INTO forkpolicy.odd (file, "offset", reason) SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[])'
)
_SITE: Final = "UPDATE forkpolicy.sites SET policy = %s, tables = %s, since_ms = %s WHERE n = %s AND policy IS NULL"


class PostgresqlStore:
    """One writer. It connects when it is needed."""

    def __init__(self, settings: HistorySettings) -> None:
        self._settings = settings
        self._connection: psycopg.Connection | None = None
        self._batch: Batch | None = None
        self._positions: dict[str, int] = {}
        # As it was before the lines of a batch were read.
        self._forgotten = 0
        self._numbers: dict[tuple[str, Texts], int] = {}

    def begin(self) -> bool:
        """Nothing is begun before the commit; a row of the server is its lock."""
        return True

    def position(self, file: str) -> int:
        """How far a file of the log was taken in, in bytes; that of a transaction that is not over is waited for."""
        if file not in self._positions:
            with in_words(self._settings.url):
                connection = self._connected()
                with connection.transaction():
                    self._forgotten = forgotten_of(connection)
                    self._positions[file] = _taken(connection, file)
        return self._positions[file]

    def add(self, file: str, lines: Sequence[tuple[int, Line]]) -> None:
        """Lines of a file, each with the offset behind it. They are on the server after a commit."""
        if self._batch and self._batch.file != file:
            self.commit()
        if not self._batch:
            self._batch = Batch(file)
        self._batch.add(lines)

    def commit(self) -> None:
        """Keep everything that was added, unless somebody was forgotten since it was read: then it is to be read again.
        A connection that was cut meanwhile is made anew once.
        """
        batch = self._batch
        if not batch or not batch.end:
            return
        batch.close()
        with in_words(self._settings.url):
            try:
                is_kept = self._write(batch)
            except psycopg.OperationalError:
                if self._connection and not self._connection.closed:
                    raise
                is_kept = self._write(batch)
        if not is_kept:
            self.forget()
            return
        self._positions[batch.file] = batch.end
        self._batch = None

    def forget(self) -> None:
        """Give up what was added since the last commit; where the log was read to is asked again."""
        self._batch = None
        self._positions.clear()

    def mend(self, error: Exception, now_s: float) -> list[str]:  # noqa: ARG002 - a Writer's
        """What a server has that is damaged, its administrator mends."""
        return []

    def remove_old_days(self, keep_days: int, now_s: float) -> list[str]:
        """Remove what is older than `keep_days` whole days, of all hosts; the days that are gone. One that somebody
        reads stays until the next time.
        """
        oldest = str(datetime.fromtimestamp(now_s, UTC).date() - timedelta(days=keep_days))
        with in_words(self._settings.url):
            connection = self._connected()
            gone = list(_removed(connection, oldest, now_s))
            _remove_the_rest(connection, day_ms(oldest), int(now_s))
        return gone

    def close(self) -> None:
        """Close the connection; what was not committed is given up."""
        self.forget()
        if self._connection:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection:
        if self._connection and self._connection.closed:
            self._connection = None
        if not self._connection:
            # It may be another server, or one that was restored.
            self._numbers.clear()
            connection = connected(self._settings, writes=True)
            try:
                make_tables(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _write(self, batch: Batch) -> bool:
        """False where somebody was forgotten after the lines were read."""
        connection = self._connected()
        rules = {texts: self._number("rules", ("line", "verb", "acls"), texts) for texts in batch.rules}
        sites = {texts: self._number("sites", ("host", "in_force"), texts) for texts in batch.sites}
        for texts, known in batch.sites.items():
            if known:
                connection.execute(_SITE, (*known, sites[texts]))
        make_days(connection, batch.days)
        with connection.transaction(), connection.cursor() as cursor:
            is_current = forgotten_of(connection) == self._forgotten
            taken = _taken(connection, batch.file)
            if taken == batch.end or not is_current:
                # The first is a commit whose answer did not come.
                return is_current
            if taken != self._positions.get(batch.file, 0):
                raise UnavailableError(
                    f"the file {batch.file} of the log was read to {taken} by another one: is a second forkpolicy "
                    "history ingest running?"
                )
            for name, day in sorted(batch.days.items()):
                _copy_day(cursor, name, day, rules, sites)
            rollups = [(slot, rules[rule], host, count) for (slot, rule, host), count in batch.rollups.items()]
            # In one order: two hosts may have the same name.
            for statement, rows in ((_ROLLUP, sorted(rollups)), (_GAP, batch.gaps), (_ODD, batch.odd)):
                if rows:
                    # A column is an array: one statement, and no pipeline that a cut connection leaves half open.
                    cursor.execute(statement, [list(column) for column in zip(*rows, strict=True)])
            cursor.execute('UPDATE forkpolicy.positions SET "offset" = %s WHERE file = %s', (batch.end, batch.file))
        return True

    def _number(self, table: str, columns: Texts, texts: Texts) -> int:
        """The number of texts that belong together; hosts that meet them at once get the same one."""
        known = self._numbers.get((table, texts))
        if known is None:
            connection = self._connected()
            key = hashlib.sha256("\0".join(texts).encode()).digest()
            find = f"SELECT n FROM forkpolicy.{table} WHERE key = %s".encode()  # noqa: S608 - names of ours
            row = connection.execute(find, (key,)).fetchone()
            if not row:
                marks = ", %s" * len(texts)
                insert = f"INSERT INTO forkpolicy.{table} (key, {', '.join(columns)}) VALUES (%s{marks})"  # noqa: S608
                connection.execute(f"{insert} ON CONFLICT DO NOTHING".encode(), (key, *texts))
                row = connection.execute(find, (key,)).fetchone()
            if not row:
                raise UnavailableError(f"{table} of the history were removed while they were written")
            known = self._numbers[table, texts] = int(row[0])
        return known


def _taken(connection: psycopg.Connection, file: str) -> int:
    """How far a file was read, once every other transaction that says so is over; held until ours is."""
    connection.execute(
        "INSERT INTO forkpolicy.positions VALUES (%s, 0, %s) ON CONFLICT DO NOTHING", (file, os.uname().nodename)
    )
    row = connection.execute('SELECT "offset" FROM forkpolicy.positions WHERE file = %s FOR UPDATE', (file,)).fetchone()
    return int(row[0]) if row else 0


def _copy_day(cursor: psycopg.Cursor, name: str, day: Day, rules: dict[Texts, int], sites: dict[Texts, int]) -> None:
    """Straight into the partitions: nothing is taken of their parents, and nobody waits."""
    next_ones = "SELECT nextval('forkpolicy.block_numbers') FROM generate_series(1, %s)"
    blocks = [number for (number,) in cursor.execute(next_ones, (len(day.blocks),)).fetchall()]
    with cursor.copy(f"COPY {partition('blocks', name)} FROM STDIN (FORMAT BINARY)".encode()) as copy:
        copy.set_types(("date", "int8", "bytea"))
        of_day = datetime.fromisoformat(name).date()
        for number, packed in zip(blocks, day.blocks, strict=True):
            copy.write_row((of_day, number, packed))
    with cursor.copy(f"COPY {partition('decisions', name)} FROM STDIN".encode()) as copy:
        for row in day.rows:
            numbers = blocks[row.block], rules[row.rule], sites[row.site]
            copy.write_row((row.at_ms, *numbers, row.line, row.is_cut, row.is_odd, row.id, *row.of_request))


def _removed(connection: psycopg.Connection, oldest: str, now_s: float) -> Iterator[str]:
    """Each day that is removed here; ends where a reader is in the way. A day that a wrong clock has made is as old as
    its partitions.
    """
    with contextlib.suppress(psycopg.errors.LockNotAvailable):
        for day, made in days_in(connection, now_s):
            is_old = (made if is_of_the_future(day, now_s) else day) < oldest
            if is_old and remove_day(connection, day):
                yield day


def _remove_the_rest(connection: psycopg.Connection, oldest_ms: int, now_s: int) -> None:
    """Little, and without an address: nothing that would need a partition."""
    first_slot = now_s * 1000 // SLOT_MS - KEEP_ROLLUPS_DAYS * 24 * 6
    for statement, value in (
        ("DELETE FROM forkpolicy.gaps WHERE at_ms < %s", oldest_ms),
        ("DELETE FROM forkpolicy.odd WHERE at < to_timestamp(%s / 1000.0)", oldest_ms),
        ("DELETE FROM forkpolicy.rollups WHERE slot < %s", first_slot),
    ):
        connection.execute(statement, (value,))
