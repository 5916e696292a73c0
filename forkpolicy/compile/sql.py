"""`sql:URL:QUERY`: keys, and values from a second column, of a query to whatever database SQLAlchemy knows.

A query has blanks, so it takes the rest of the `table` statement: it is the last source of its table. SQLAlchemy is an
optional extra (`pip install forkpolicy[sql]`) and this is the only file that imports it, when a table needs it. Rows
stream. Passwords need not stand in the policy: PostgreSQL's own `~/.pgpass` and `PGPASSFILE` work.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from forkpolicy.compile.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
            # No pool: one query, and its connection is closed with it, however the query ends.
            engine = sqlalchemy.create_engine(self._engine_url(sqlalchemy), poolclass=sqlalchemy.pool.NullPool)
            with engine.connect() as connection:
                # As it stands: SQLAlchemy's own text would take `:e` in a literal for a parameter, drivers `%`.
                as_it_stands = connection.execution_options(
                    stream_results=True, yield_per=_ROWS_AT_ONCE, no_parameters=True
                )
                yield from _rows_of(as_it_stands.exec_driver_sql(self.query))
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            # The first line has the database's own words; the rest is the query and a link.
            raise ValueError(f"the database says: {str(error).splitlines()[0]}") from error

    def _engine_url(self, sqlalchemy: Any) -> Any:
        url = sqlalchemy.engine.make_url(self.url)
        if url.drivername == "postgresql" and importlib.util.find_spec("psycopg2") is None:
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() == "sqlite" and url.database:
            database = self.base / url.database
            if not database.exists():
                # SQLite would make an empty one.
                raise ValueError(f"there is no database {database}")
            url = url.set(database=str(database))
        return url


def _rows_of(result: Any) -> Iterator[Row]:
    columns = len(result.keys())
    if columns > 2:
        raise ValueError(f"the query returns {columns} columns: expected a key, or a key and a value")
    for number, row in enumerate(result, 1):
        if row[0] is not None:
            value = str(row[1]) if columns == 2 and row[1] is not None else None
            yield Row(str(row[0]).strip(), value, number)


def _import_sqlalchemy() -> Any:
    try:
        import sqlalchemy  # noqa: PLC0415 - optional, and half a second that no other source should pay
    except ImportError as error:
        raise ValueError("sql sources need SQLAlchemy, which is not installed: pip install forkpolicy[sql]") from error
    return sqlalchemy


def without_password(text: str) -> str:
    """A text with a URL in it, to be shown: entries and complaints name their source to whoever asks."""
    return re.sub(r"//([^:@/]*):[^@]*@", r"//\1:***@", text)


def open_source(argument: str, base: Path) -> SqlSource:
    """The source of `URL:QUERY`. Raises ValueError."""
    found = _FORM.fullmatch(argument)
    if not found or "://" not in found["url"]:
        raise ValueError("expected sql:URL:QUERY, such as sql:sqlite:///mail.db:SELECT name FROM domains")
    return SqlSource(f"sql:{without_password(found['url'])}", found["url"], found["query"], base)
