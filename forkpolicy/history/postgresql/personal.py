"""Forgets a person in PostgreSQL. The log of this host was changed before; each other host has a log of its own.

Rows go, and lines within blocks become empty, so that no other line gets another place; then the day's tables are
written anew (VACUUM FULL), since a row that is deleted stays in its file. A day says that this is still to be done, so
that a process which was killed can be started again. What an ingester has read before its log was changed it does not
write: its transaction finds that somebody was forgotten meanwhile, and it reads on from the log again. What the server
has in its write-ahead log, on its replicas and in backups goes when that goes.

Raises UnavailableError.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from forkpolicy.history.personal.person import Forgotten
from forkpolicy.history.postgresql.access import connected, in_words
from forkpolicy.history.postgresql.conditions import condition
from forkpolicy.history.postgresql.schema import (
    OF_A_DAY,
    check_version,
    days_in,
    has_tables,
    keep_writers_out,
    partition,
)
from forkpolicy.history.raw_lines import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from forkpolicy.history.personal.person import Person
    from forkpolicy.history_settings import HistorySettings


def forget_in_postgresql(settings: HistorySettings, person: Person, now_s: float) -> Forgotten:
    """Forget a person in what all hosts have written."""
    with in_words(settings.url), closing(connected(settings, writes=True)) as connection:
        if not has_tables(connection):
            return Forgotten(0, 0)
        check_version(connection)
        # To write a large day anew takes minutes.
        connection.execute("SET statement_timeout = 0; SET lock_timeout = '120s'")
        with connection.transaction():
            keep_writers_out(connection)
            connection.execute("UPDATE forkpolicy.meta SET forgotten = forgotten + 1")
        every = [_forget_in_day(connection, day, person) for day, _ in days_in(connection, now_s)]
        _write_anew(connection)
    return Forgotten(sum(each.decisions for each in every), sum(each.blotted for each in every))


def _forget_in_day(connection: psycopg.Connection, day: str, person: Person) -> Forgotten:
    where = condition(connection, person.query())
    blocks, decisions = (partition(table, day) for table in OF_A_DAY)
    blotted = 0
    with connection.transaction():
        # Nobody drops the day meanwhile.
        connection.execute("SELECT 1 FROM forkpolicy.days WHERE day = %s::date FOR UPDATE", (day,))
        gone: dict[int, set[int]] = {}
        if where:
            delete = f"DELETE FROM {decisions} WHERE {where.text} RETURNING block, line"  # noqa: S608 - names of ours
            for block, line in connection.execute(delete.encode(), where.values):
                gone.setdefault(block, set()).add(line)
        is_dirty = bool(gone)
        for block, before, after in _changes(connection, blocks, gone, person):
            update = f"UPDATE {blocks} SET lines = %s WHERE block = %s"  # noqa: S608
            connection.execute(update.encode(), (packed(after), block))
            is_dirty = True
            blotted += sum(1 for old, new in zip(before, after, strict=True) if new and old != new)
        if is_dirty:
            connection.execute("UPDATE forkpolicy.days SET is_dirty = true WHERE day = %s::date", (day,))
    return Forgotten(sum(map(len, gone.values())), blotted)


def _changes(
    connection: psycopg.Connection, blocks: str, gone: dict[int, set[int]], person: Person
) -> Iterator[tuple[int, list[bytes], list[bytes]]]:
    """Each block that changes: its number, its lines until now and from now on."""
    with connection.cursor("blocks", binary=True) as cursor:
        cursor.execute(f"SELECT block, lines FROM {blocks}".encode())  # noqa: S608 - a name of ours
        for block, data in cursor:
            before, lost = unpacked(data), gone.get(block, set())
            if lost or person.is_in(b"\n".join(before)):
                after = [b"" if number in lost else person.blotted(line) for number, line in enumerate(before)]
                if after != before:
                    yield block, before, after


def _write_anew(connection: psycopg.Connection) -> None:
    """The tables of each day that something went from, also of those that a killed process has left so."""
    for (day,) in connection.execute("SELECT day::text FROM forkpolicy.days WHERE is_dirty").fetchall():
        for table in OF_A_DAY:
            connection.execute(f"VACUUM (FULL, ANALYZE) {partition(table, day)}".encode())
        connection.execute("UPDATE forkpolicy.days SET is_dirty = false WHERE day = %s::date", (day,))
