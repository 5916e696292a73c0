"""Connections to whatever database SQLAlchemy knows, by URL: for `sql:` sources of tables and for imports.

SQLAlchemy is an optional extra (`pip install 'forkpolicy[sql]'`) and this is the only file that imports it, when
somebody needs it. Rows stream. ValueError says what is wrong, without the password.
"""

from __future__ import annotations

import importlib.util
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

OfSqlalchemy = Any  # optional: a type checker may run without it

_ROWS_AT_ONCE: Final = 10_000


@dataclass(slots=True)
class SqlDatabase:
    """One database. `base`: where paths of SQLite begin. What SQLAlchemy and drivers warn of goes to `warnings`."""

    url: str
    base: Path
    warnings: list[str] = field(default_factory=list)

    @contextmanager
    def connected(self) -> Iterator[OfSqlalchemy]:
        """A connection, closed at the end. What the database itself says is a ValueError too."""
        sqlalchemy = _import_sqlalchemy()
        try:
            with self._connect(sqlalchemy) as connection:
                yield connection
        except ImportError as error:
            raise ValueError(
                f"the driver {error.name} of its URL is not installed in this Python: install it with pip, or name "
                "another one in the URL, as in mysql+pymysql://"
            ) from error
        except sqlalchemy.exc.SQLAlchemyError as error:
            # The first line has the database's own words; the rest is the query and a link.
            raise ValueError(f"the database says: {str(error).splitlines()[0]}") from error

    def tables(self, connection: OfSqlalchemy) -> list[str]:
        """The names of its tables."""
        names: list[str] = _import_sqlalchemy().inspect(connection).get_table_names()
        return names

    def _connect(self, sqlalchemy: ModuleType) -> OfSqlalchemy:
        """A connection that takes a query as it stands. SQLAlchemy's own would take `:e` in a literal for a parameter,
        drivers `%`.
        """
        try:
            with self.noting_warnings():
                # No pool: one query, and its connection is closed with it, however the query ends.
                engine = sqlalchemy.create_engine(self._engine_url(sqlalchemy), poolclass=sqlalchemy.pool.NullPool)
                return engine.connect().execution_options(
                    stream_results=True, yield_per=_ROWS_AT_ONCE, no_parameters=True
                )
        except TypeError as error:
            raise ValueError(f"the driver of this database does not take an option of the URL: {error}") from error

    @contextmanager
    def noting_warnings(self) -> Iterator[None]:
        """What Python would write to standard error, with a line of source, as warnings."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for of_developers in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
                warnings.simplefilter("ignore", of_developers)
            yield
        for each in caught:
            text = str(each.message).partition("\n")[0].partition(" (Background on this")[0]
            if f"the database says: {text}" not in self.warnings:
                self.warnings.append(f"the database says: {text}")

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


def _import_sqlalchemy() -> ModuleType:
    try:
        import sqlalchemy  # noqa: PLC0415 - optional, and half a second that nobody else should pay
    except ImportError as error:
        message = "sql sources need SQLAlchemy, which is not installed: pip install 'forkpolicy[sql]'"
        raise ValueError(message) from error
    return sqlalchemy
