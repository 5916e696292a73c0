"""The tables of another server, wherever they are: a dump, a file of SQLite, a database by its URL, or a file that has
nothing but such a URL (so that its password is in no list of processes).

Raises ConfigError for what cannot be read at all. What of a dump is not understood is left out of the draft.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.importing.left_out import Origin
from forkpolicy.importing.source import read_source
from forkpolicy.importing.sql.dump import Dump, Row
from forkpolicy.secrets import masked
from forkpolicy.sql_databases import SqlDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from forkpolicy.files import Files
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.formats import Inputs
    from forkpolicy.importing.source import SourceFile

_SQLITE: Final = b"SQLite format 3\0"
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


@dataclass
class Database:
    """Rows by the names of their tables, in the order in which they were found. `others`: files that are no SQL."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    others: list[SourceFile] = field(default_factory=list)

    def rows(self, table: str) -> list[Row]:
        """Those of a table; none where there is no such table."""
        return self.tables.get(table, [])


def read_database(
    inputs: Inputs, draft: Draft, wanted: Iterable[str], is_other: Callable[[str], bool] = lambda _text: False
) -> Database:
    """Everything of the wanted tables. `is_other`: whether the beginning of a text is no SQL. Raises ConfigError."""
    tables = frozenset(wanted)
    database = Database()
    for path in inputs.paths:
        others = len(database.others)
        rows = list(_rows(path, inputs.files, draft, tables, database, is_other))
        for row in rows:
            database.tables.setdefault(row.table, []).append(row)
        if not rows and len(database.others) == others:
            names = ", ".join(sorted(tables)[:4])
            draft.leave_out(Origin(masked(path)), "all of it", f"it has no rows of the tables {names} ...")
    for rows in database.tables.values():
        # Servers read them by their key, mostly; a dump may have another order.
        rows.sort(key=_number_of)
    return database


def _number_of(row: Row) -> int:
    text = row.get("id")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _rows(
    path: str,
    files: Files,
    draft: Draft,
    wanted: frozenset[str],
    database: Database,
    is_other: Callable[[str], bool],
) -> Iterator[Row]:
    if _URL.fullmatch(path):
        yield from _from_url(path, path, wanted)
        return
    if files.read(path).startswith(_SQLITE):
        yield from _from_sqlite(path, wanted)
        return
    source = read_source(path, files)
    lines = [line.strip() for line in source.lines if line.strip() and line.strip()[0] != "#"]
    if len(lines) == 1 and _URL.fullmatch(lines[0]):
        yield from _from_url(lines[0], path, wanted)
        return
    text = "\n".join(source.lines)
    if is_other(text[:65536]):
        database.others.append(source)
        return
    dump = Dump(path, text, wanted)
    yield from dump.rows()
    for problem in dump.problems:
        draft.leave_out(*problem)


def _from_sqlite(path: str, wanted: frozenset[str]) -> Iterator[Row]:
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            connection.row_factory = sqlite3.Row
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for name in names:
                if name.lower() in wanted:
                    quoted = name.replace('"', '""')
                    for number, row in enumerate(connection.execute(f'SELECT * FROM "{quoted}"'), 1):  # noqa: S608
                        yield _row(path, name, dict(row), number)
    except (sqlite3.Error, ValueError, OverflowError) as error:
        # A damaged file may have names that are not UTF-8, which raises before there is a row.
        raise ConfigError([Diagnostic(path, 0, 0, f"cannot be read as an SQLite database: {error}")]) from error


def _from_url(url: str, where: str, wanted: frozenset[str]) -> Iterator[Row]:
    database = SqlDatabase(url, Path())
    shown = masked(url).partition("?")[0]
    try:
        with database.connected() as connection:
            quote = connection.dialect.identifier_preparer.quote_identifier
            for name in database.tables(connection):
                if name.lower() in wanted:
                    result = connection.exec_driver_sql(f"SELECT * FROM {quote(name)}")  # noqa: S608 - its own name
                    for number, row in enumerate(result.mappings(), 1):
                        yield _row(shown, name, row, number)
    except ValueError as error:
        raise ConfigError([Diagnostic(masked(where), 0, 0, str(error))]) from error


def _row(where: str, table: str, columns: Mapping[str, object], number: int) -> Row:
    values = {name.lower(): _text(value) for name, value in columns.items()}
    key = values.get("id")
    place = f"{where} {table}" if key is None else f"{where} {table} {key}"
    return Row(table.lower(), values, Origin(place, 0 if key is not None else number))


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "1" if value else "0"
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "replace")
    return str(value)
