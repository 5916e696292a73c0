"""SQLite files in the directory of the console's user: accounts with their links and sessions, and the audit.

Secrets are kept as digests. A connection lives for one use, so that threads share none. Every use raises sqlite3.Error.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import CannotWriteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_WAIT_S: Final = 5.0
_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Schema:
    """A file's name, what makes its tables, and what makes a file of each earlier version one of the next. Each
    statement ends a line.
    """

    file: str
    tables: str
    upgrades: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """The `user_version` of a file with these tables."""
        return 1 + len(self.upgrades)


ACCOUNTS: Final = Schema(
    "accounts.sqlite",
    """
CREATE TABLE accounts (
  name TEXT PRIMARY KEY, role TEXT NOT NULL, domains TEXT NOT NULL, addresses TEXT NOT NULL, password TEXT,
  is_disabled INTEGER NOT NULL DEFAULT 0, created_s INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE links (digest BLOB PRIMARY KEY, name TEXT NOT NULL, until_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (
  digest BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, client TEXT NOT NULL, began_s INTEGER NOT NULL,
  seen_s INTEGER NOT NULL, source TEXT NOT NULL DEFAULT 'local', addresses TEXT NOT NULL DEFAULT '[]'
) WITHOUT ROWID;
CREATE INDEX sessions_of ON sessions (name);
PRAGMA user_version = 2;
""",
    # 2: sessions of people who have no account here: who said who they are, and the addresses that are theirs.
    (
        """
ALTER TABLE sessions ADD COLUMN source TEXT NOT NULL DEFAULT 'local';
ALTER TABLE sessions ADD COLUMN addresses TEXT NOT NULL DEFAULT '[]';
PRAGMA user_version = 2;
""",
    ),
)
AUDIT: Final = Schema(
    "audit.sqlite",
    """
CREATE TABLE entries (
  n INTEGER PRIMARY KEY AUTOINCREMENT, at_s INTEGER NOT NULL, who TEXT NOT NULL, client TEXT NOT NULL,
  what TEXT NOT NULL, about TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE INDEX entries_at ON entries (at_s);
CREATE INDEX entries_who ON entries (who, n);
CREATE INDEX entries_about ON entries (about, n);
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
  BEGIN SELECT RAISE(ABORT, 'an entry of the audit stays'); END;
PRAGMA user_version = 1;
""",
)


class Database:
    """A file below a directory; made when it is first used."""

    def __init__(self, directory: str, schema: Schema = ACCOUNTS) -> None:
        self.path, self._schema = Path(directory) / schema.file, schema

    def use(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection whose statements are one transaction. Raises CannotWriteError where the file cannot be made, or
        is of a later release.
        """
        return self._transaction("BEGIN IMMEDIATE")

    def look(self) -> AbstractContextManager[sqlite3.Connection]:
        """The same for what changes nothing: it waits for no other."""
        return self._transaction("BEGIN")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        self._make()
        try:
            with closing(sqlite3.connect(self.path, _WAIT_S, isolation_level=None)) as connection:
                self._make_tables(connection)
                connection.execute(begin)
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            # Which file it is, SQLite does not say.
            raise type(error)(f"{self.path}: {error}") from error

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        """Those of this release, in a new file and in one of an earlier release."""
        if self._version(connection) == self._schema.version:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._upgrade(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _upgrade(self, connection: sqlite3.Connection) -> None:
        version = self._version(connection)  # another process may have been here
        if version > self._schema.version:
            raise CannotWriteError(f"{self.path} is of a later release of forkpolicy (version {version})")
        steps = self._schema.upgrades[version - 1 :] if version else (self._schema.tables,)
        for step in steps:
            for statement in step.split(";\n"):
                connection.execute(statement)

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return int(version)

    def _make(self) -> None:
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE))
        except OSError as error:
            raise CannotWriteError(f"{self.path} cannot be written: {(error.strerror or '').lower()}") from error
