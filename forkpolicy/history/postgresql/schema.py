"""The tables of a history in PostgreSQL, all in the schema `forkpolicy`.

Decisions and their compressed lines are partitioned by the UTC day, so that a day that is over is dropped and nothing
of it has to be deleted. Addresses stand in the rows and nowhere else: as numbers of a table of names they took more
bytes (the rows of one address share an entry of an index), and hosts would have to agree about the numbers. Rules and
sites are numbers; they have no address.

The first ingester makes them, under a lock, as the owner of the schema. Raises psycopg.Error, UnavailableError.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

from forkpolicy.history.errors import UnavailableError
from forkpolicy.history.schema import order_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

# Another one for each form that a program which reads the previous one cannot read.
VERSION: Final = 1
# split_part() counts from the end since then.
OLDEST: Final = 140000
# "forkpoli" in ASCII: of everybody who makes or removes tables of ours in this database.
LOCK: Final = 0x666F726B706F6C69
DAY_MS: Final = 86_400_000
# Parents of a day's partitions, in the order in which each transaction takes them: nobody waits in a circle.
OF_A_DAY: Final = ("blocks", "decisions")

# Hashes take less than the texts that are only ever looked for as a whole, and have no limit of length.
_TABLES: Final = """\
CREATE TABLE forkpolicy.meta (version integer NOT NULL, forgotten integer NOT NULL DEFAULT 0);
CREATE TABLE forkpolicy.rules (
    n integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key bytea NOT NULL UNIQUE,
    line text COLLATE "C" NOT NULL, verb text COLLATE "C" NOT NULL, acls text NOT NULL);
CREATE TABLE forkpolicy.sites (
    n integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key bytea NOT NULL UNIQUE,
    host text COLLATE "C" NOT NULL, in_force text COLLATE "C" NOT NULL,
    policy text, tables text, since_ms bigint);
CREATE TABLE forkpolicy.days (
    day date PRIMARY KEY, made timestamptz NOT NULL DEFAULT now(), is_dirty boolean NOT NULL DEFAULT false);
CREATE SEQUENCE forkpolicy.block_numbers;
CREATE TABLE forkpolicy.blocks (
    day date NOT NULL, block bigint NOT NULL, lines bytea NOT NULL, PRIMARY KEY (day, block)
) PARTITION BY LIST (day);
ALTER TABLE forkpolicy.blocks ALTER lines SET STORAGE EXTERNAL;
CREATE TABLE forkpolicy.decisions (
    at_ms bigint NOT NULL, block bigint NOT NULL, rule integer NOT NULL, site integer NOT NULL,
    line integer NOT NULL, is_cut boolean NOT NULL, is_odd boolean NOT NULL, id text COLLATE "C" NOT NULL, client inet,
    sender text COLLATE "C", recipient text COLLATE "C", login text COLLATE "C",
    queue text COLLATE "C", instance text COLLATE "C"
) PARTITION BY RANGE (at_ms);
CREATE INDEX ON forkpolicy.decisions (at_ms);
CREATE INDEX ON forkpolicy.decisions (rule);
CREATE INDEX ON forkpolicy.decisions (is_odd) WHERE is_odd;
CREATE INDEX ON forkpolicy.decisions (client);
CREATE INDEX ON forkpolicy.decisions (sender);
CREATE INDEX ON forkpolicy.decisions (split_part(sender, '@', -1));
CREATE INDEX ON forkpolicy.decisions (recipient);
CREATE INDEX ON forkpolicy.decisions (split_part(recipient, '@', -1));
CREATE INDEX ON forkpolicy.decisions (login) WHERE login IS NOT NULL;
CREATE INDEX ON forkpolicy.decisions (split_part(login, '@', -1)) WHERE login IS NOT NULL;
CREATE INDEX ON forkpolicy.decisions USING hash (id);
CREATE INDEX ON forkpolicy.decisions USING hash (queue) WHERE queue IS NOT NULL;
CREATE INDEX ON forkpolicy.decisions USING hash (instance) WHERE instance IS NOT NULL;
CREATE TABLE forkpolicy.gaps (at_ms bigint NOT NULL, decisions bigint NOT NULL, reason text NOT NULL);
CREATE TABLE forkpolicy.rollups (
    slot bigint, rule integer, host text COLLATE "C", decisions bigint NOT NULL, PRIMARY KEY (slot, rule, host));
CREATE TABLE forkpolicy.positions (file text COLLATE "C" PRIMARY KEY, "offset" bigint NOT NULL, host text NOT NULL);
CREATE TABLE forkpolicy.odd (
    at timestamptz NOT NULL DEFAULT now(), file text NOT NULL, "offset" bigint NOT NULL, reason text NOT NULL);
"""


def make_tables(connection: psycopg.Connection) -> None:
    """Make what is missing, and see that it is of this version."""
    _check_server(connection)
    if not has_tables(connection):
        with connection.transaction():
            take_lock(connection)
            if not has_tables(connection):
                if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'forkpolicy'").fetchone():
                    connection.execute("CREATE SCHEMA forkpolicy")
                connection.execute(_TABLES)
                connection.execute("INSERT INTO forkpolicy.meta VALUES (%s)", (VERSION,))
    check_version(connection)


def look(connection: psycopg.Connection) -> None:
    """See whether an ingester could write here; nothing is made. Raises UnavailableError."""
    _check_server(connection)
    if has_tables(connection):
        check_version(connection)
        return
    sql = (
        "SELECT coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'forkpolicy'), "
        "has_database_privilege(current_database(), 'CREATE'))"
    )
    if connection.execute(sql).fetchone() != (True,):
        raise UnavailableError("the user may not make tables: its schema forkpolicy must be made first, for it")


def has_tables(connection: psycopg.Connection) -> bool:
    """Whether an ingester has made them."""
    # Not to_regclass(): behind a lock that was waited for it goes on saying what it said before.
    sql = "SELECT 1 FROM pg_tables WHERE schemaname = 'forkpolicy' AND tablename = 'meta'"
    return connection.execute(sql).fetchone() is not None


def _check_server(connection: psycopg.Connection) -> None:
    if connection.info.server_version < OLDEST:
        raise UnavailableError(
            f"the server is PostgreSQL {connection.info.server_version // 10000}: expected 14 or later"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise UnavailableError(f"the encoding of the database is {encoding}: expected UTF8")


def check_version(connection: psycopg.Connection) -> None:
    """Raises UnavailableError for another one."""
    (version,) = connection.execute("SELECT version FROM forkpolicy.meta").fetchone() or (None,)
    if version != VERSION:
        raise UnavailableError(
            f"the history of the server is of version {version}, and this program knows version {VERSION}"
        )


def take_lock(connection: psycopg.Connection) -> None:
    """Wait for a process that makes or removes tables, until the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))


def keep_writers_out(connection: psycopg.Connection) -> None:
    """Wait for those that write decisions at this moment, and let no other one begin before the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK + 1,))


def forgotten_of(connection: psycopg.Connection) -> int:
    """How often somebody was forgotten; in a transaction of a writer it does not change before its end."""
    connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (LOCK + 1,))
    (forgotten,) = connection.execute("SELECT forgotten FROM forkpolicy.meta").fetchone() or (0,)
    return int(forgotten)


def days_in(connection: psycopg.Connection, now_s: float) -> list[tuple[str, str]]:
    """The days that there are, each with the day on which it was made: the latest first, last those that a wrong clock
    has made.
    """
    days = connection.execute("SELECT day::text, (made AT TIME ZONE 'UTC')::date::text FROM forkpolicy.days").fetchall()
    return sorted(days, key=lambda each: order_of(each[0], now_s), reverse=True)


def partition(table: str, day: str) -> str:
    """The name of a day's partition."""
    return f"forkpolicy.{table}_{day.replace('-', '')}"


def day_ms(day: str) -> int:
    """The moment at which a day begins."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * DAY_MS


def make_days(connection: psycopg.Connection, days: Iterable[str]) -> None:
    """Make the partitions of days. A table that is attached holds up nobody; one that is made as a partition would
    wait for every reader, and everybody else for it.
    """
    for day in sorted(days):
        if connection.execute("SELECT 1 FROM forkpolicy.days WHERE day = %s::date", (day,)).fetchone():
            continue
        begin = day_ms(day)
        bounds = {"blocks": f"IN ('{day}')", "decisions": f"FROM ({begin}) TO ({begin + DAY_MS})"}
        names = [(table, partition(table, day)) for table in OF_A_DAY]
        make = (
            f"CREATE TABLE {name} (LIKE forkpolicy.{table} INCLUDING ALL);"
            f"ALTER TABLE forkpolicy.{table} ATTACH PARTITION {name} FOR VALUES {bounds[table]};"
            for table, name in names
        )
        with connection.transaction():
            take_lock(connection)
            made = connection.execute("INSERT INTO forkpolicy.days VALUES (%s::date) ON CONFLICT DO NOTHING", (day,))
            if made.rowcount:
                connection.execute("".join(make).encode())


def remove_day(connection: psycopg.Connection, day: str) -> bool:
    """Drop a day; False where another host has done it. Raises LockNotAvailable where a reader is in the way: while
    this waits for one, everybody waits for this.
    """
    names = [(table, partition(table, day)) for table in OF_A_DAY]
    remove = (f"ALTER TABLE forkpolicy.{table} DETACH PARTITION {name}; DROP TABLE {name};" for table, name in names)
    with connection.transaction():
        take_lock(connection)
        gone = connection.execute("DELETE FROM forkpolicy.days WHERE day = %s::date", (day,))
        if gone.rowcount:
            connection.execute(f"SET LOCAL lock_timeout = '2s'; {''.join(remove)}".encode())
    return bool(gone.rowcount)
