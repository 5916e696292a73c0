"""`sql:URL:QUERY`: keys, and values from a second column, of a query to whatever database SQLAlchemy knows. A table of
several columns takes as many for its key.

A query has blanks, so it takes the rest of the `table` statement: it is the last source of its table. Rows
stream; bytes are UTF-8; rows without a key are left out, and one warning counts them. What SQLAlchemy and drivers warn
of are warnings of the source. Passwords need not stand in the policy: PostgreSQL's own `~/.pgpass` and `PGPASSFILE`
work; where one does, `without_password` is what is shown. ValueError says what is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from forkpolicy.secrets import masked
from forkpolicy.sql_databases import SqlDatabase
from forkpolicy.tables.format import COLUMN_SEPARATOR
from forkpolicy.tables.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkpolicy.sql_databases import OfSqlalchemy

_FORM: Final = re.compile(r"(?P<url>\S+):(?P<query>(select|with|values|table)\b.*)", re.IGNORECASE | re.DOTALL)


@dataclass(slots=True)
class SqlSource:
    """One query to one database."""

    name: str
    url: str
    query: str
    base: Path
    key_columns: int = 1
    warnings: list[str] = field(default_factory=list)

    def with_columns(self, count: int) -> SqlSource:
        """The same for a table of so many columns."""
        return replace(self, key_columns=count)

    def rows(self) -> Iterator[Row]:
        """Key and value of each row of the result. Raises ValueError."""
        database = SqlDatabase(self.url, self.base, self.warnings)
        with database.connected() as connection:
            with database.noting_warnings():
                result = connection.exec_driver_sql(self.query)
            yield from self._rows_of(database, result)

    def _rows_of(self, database: SqlDatabase, result: OfSqlalchemy) -> Iterator[Row]:
        columns = len(result.keys())
        if not 0 <= columns - self.key_columns <= 1:
            keys = "a key" if self.key_columns == 1 else f"{self.key_columns} columns of the table"
            raise ValueError(f"the query returns {columns} columns: expected {keys}, or {keys} and a value")
        number = without_key = 0
        parts = result.partitions()
        while part := _next(database, parts):
            for row in part:
                number += 1
                cells = [_text(column, number) for column in row]
                key = [(cell or "").strip() for cell in cells[: self.key_columns]]
                if any(key):
                    yield Row(COLUMN_SEPARATOR.join(key), cells[-1] if len(cells) > len(key) else None, number)
                else:
                    without_key += 1
        if without_key:
            self.warnings.append(f"rows without a key are left out ({without_key})")


def _next(database: SqlDatabase, parts: Iterator[OfSqlalchemy]) -> OfSqlalchemy:
    with database.noting_warnings():
        return next(parts, ())


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
