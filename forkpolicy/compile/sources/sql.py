"""`sql:URL:QUERY`: keys, and values from a second column, of a query to whatever database SQLAlchemy knows.

A query has blanks, so it takes the rest of the `table` statement: it is the last source of its table. SQLAlchemy is an
optional extra (`pip install 'forkpolicy[sql]'`) and this is the only file that imports it, when a table needs it. Rows
stream; bytes are UTF-8; rows without a key are left out, and one warning counts them. What SQLAlchemy and drivers warn
of are warnings of the source. Passwords need not stand in the policy: PostgreSQL's own `~/.pgpass` and `PGPASSFILE`
work; where one does, `without_password` is what is shown. ValueError says what is wrong.
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from forkpolicy.secrets import masked
from forkpolicy.tables.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

OfSqlalchemy = Any  # optional: a type checker may run without it

_FORM: Final = re.compile(r"(?P<url>\S+):(?P<query>(select|with|values|table)\b.*)", re.IGNORECASE | re.DOTALL)
_ROWS_AT_ONCE: Final = 10_000


@dataclass(slots=True)
class SqlSource:
    """One query to one database."""

    name: str
    url: str
    query: str
    base: Path
    warnings: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[Row]:
        """Key and value of each row of the result. Raises ValueError."""
        sqlalchemy = _import_sqlalchemy()
        try:
            with self._connected(sqlalchemy) as connection:
                with self._noting_warnings():
                    result = connection.exec_driver_sql(self.query)
                yield from self._rows_of(result)
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            # The first line has the database's own words; the rest is the query and a link.
            raise ValueError(f"the database says: {str(error).splitlines()[0]}") from error

    def _connected(self, sqlalchemy: ModuleType) -> OfSqlalchemy:
        """A connection that takes a query as it stands. SQLAlchemy's own would take `:e` in a literal for a parameter,
        drivers `%`.
        """
        try:
            with self._noting_warnings():
                # No pool: one query, and its connection is closed with it, however the query ends.
                engine = sqlalchemy.create_engine(self._engine_url(sqlalchemy), poolclass=sqlalchemy.pool.NullPool)
                return engine.connect().execution_options(
                    stream_results=True, yield_per=_ROWS_AT_ONCE, no_parameters=True
                )
        except TypeError as error:
            raise ValueError(f"the driver of this database does not take an option of the URL: {error}") from error

    @contextmanager
    def _noting_warnings(self) -> Iterator[None]:
        """What Python would write to standard error, with a line of source, as warnings of this source."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for of_developers in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
                warnings.simplefilter("ignore", of_developers)
            yield
        for each in caught:
            text = str(each.message).partition("\n")[0].partition(" (Background on this")[0]
            if f"the database says: {text}" not in self.warnings:
                self.warnings.append(f"the database says: {text}")

    def _rows_of(self, result: OfSqlalchemy) -> Iterator[Row]:
        columns = len(result.keys())
        if columns > 2:
            raise ValueError(f"the query returns {columns} columns: expected a key, or a key and a value")
        number = without_key = 0
        parts = result.partitions()
        while part := self._next(parts):
            for row in part:
                number += 1
                key, *value = [_text(column, number) for column in row]
                if key and key.strip():
                    yield Row(key.strip(), value[0] if value else None, number)
                else:
                    without_key += 1
        if without_key:
            self.warnings.append(f"rows without a key are left out ({without_key})")

    def _next(self, parts: Iterator[OfSqlalchemy]) -> OfSqlalchemy:
        with self._noting_warnings():
            return next(parts, ())

    def _engine_url(self, sqlalchemy: ModuleType) -> OfSqlalchemy:
        try:
            url = sqlalchemy.engine.make_url(self.url)
        except ValueError:
            # What it says quotes what it took for the port: perhaps the password.
            raise ValueError(
                "the port of its URL is not a number; in a password, blank @ : / are written %20 %40 %3A %2F"
            ) from None
        if url.drivername == "postgresql" and importlib.util.find_spec("psycopg2") is None:
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() == "sqlite" and url.database:
            database = self.base / url.database
            if not database.exists():
                # SQLite would make an empty one.
                raise ValueError(f"there is no database {database}")
            url = url.set(database=str(database))
        return url


def _text(column: object, row: int) -> str | None:
    """What stands in a column, as text. Raises ValueError."""
    if isinstance(column, bytes | bytearray | memoryview):
        try:
            return bytes(column).decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"row {row} of the query has bytes that are not UTF-8, {bytes(column)[:40]!r}: "
                "expected text; convert the column in the query"
            ) from error
    return None if column is None else str(column)


def _import_sqlalchemy() -> ModuleType:
    try:
        import sqlalchemy  # noqa: PLC0415 - optional, and half a second that no other source should pay
    except ImportError as error:
        message = "sql sources need SQLAlchemy, which is not installed: pip install 'forkpolicy[sql]'"
        raise ValueError(message) from error
    return sqlalchemy


def without_password(text: str) -> str:
    """A text with a URL in it, to be shown: entries and diagnostics show the name of their source."""
    found = _FORM.fullmatch(text)
    # The query is not part of the URL, even if it contains `@` and `?`.
    end = found.end("url") if found else len(text)
    return masked(text[:end]) + text[end:]


def open_source(argument: str, base: Path) -> SqlSource:
    """The source of `URL:QUERY`. Raises ValueError."""
    found = _FORM.fullmatch(argument)
    if not found or "://" not in found["url"]:
        raise ValueError("expected sql:URL:QUERY, such as sql:sqlite:///mail.db:SELECT name FROM domains")
    return SqlSource(f"sql:{without_password(found['url'])}", found["url"], found["query"], base)
