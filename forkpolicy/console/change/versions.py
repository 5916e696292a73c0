"""Every change that was applied: who, when, why, and the text before and after it; in one SQLite file.

A change is `pending` from before its file is written until the server has taken it: so a process that was killed finds
what it must mend. `found` is a text that somebody else has put there. The newest changes stay, MOST_CHANGES of them and
MOST_BYTES of their texts. Raises CannotWriteError with what to do.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.console.change.text_files import Text, digest_of
from forkpolicy.errors import CannotWriteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE: Final = "changes.sqlite"
MOST_CHANGES: Final = 5_000
MOST_BYTES: Final = 256 << 20
_BUSY_S: Final = 5.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS texts (digest TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
    n INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL, state TEXT NOT NULL, at_ms INTEGER NOT NULL,
    who TEXT NOT NULL, note TEXT NOT NULL, digest_before TEXT, digest TEXT NOT NULL, undoes INTEGER, said TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS changes_of_path ON changes (path, n);
CREATE INDEX IF NOT EXISTS changes_that_undo ON changes (undoes) WHERE undoes IS NOT NULL;
"""
_COLUMNS: Final = "n, path, state, at_ms, who, note, digest_before, digest, undoes, said"


@dataclass(frozen=True, slots=True)
class Change:
    """One. `state`: pending, applied, refused or found; `digest_before`: None where there was no file; `undoes`: the
    number of the change that it undoes; `said`: what the server said of it.
    """

    n: int
    path: str
    state: str
    at_ms: int
    who: str
    note: str
    digest_before: str | None
    digest: str
    undoes: int | None
    said: str


class Versions:
    """The changes below a directory. Every method opens the file for itself, so that any thread may call it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    def begin(self, new: Change, before: Text, after: str) -> int:
        """Note a change that will be made now; its number. `new.n` does not count."""
        with self._opened() as database:
            for text in (before.text, after):
                database.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (digest_of(text), text))
            row = (new.path, new.state, new.at_ms, new.who, new.note, new.digest_before, new.digest, new.undoes)
            added = database.execute(
                "INSERT INTO changes (path, state, at_ms, who, note, digest_before, digest, undoes, said) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, new.said),
            )
            _remove_old(database)
            return int(added.lastrowid or 0)

    def end(self, n: int, state: str, said: str) -> None:
        """What became of a pending change."""
        with self._opened() as database:
            database.execute("UPDATE changes SET state = ?, said = ? WHERE n = ?", (state, said, n))

    def pending(self) -> list[Change]:
        """Changes that a process has begun and not ended."""
        return self._select("WHERE state = 'pending' ORDER BY n")

    def get(self, n: int) -> Change | None:
        """The change of that number."""
        return next(iter(self._select("WHERE n = ?", n)), None)

    def newest(self, path: str, before: int, most: int) -> list[Change]:
        """Changes of a file, the newest first, from before that number on (0: from the newest)."""
        return self._select("WHERE path = ? AND n < ? ORDER BY n DESC LIMIT ?", path, before or 1 << 62, most)

    def since(self, path: str, n: int) -> list[Change]:
        """Those of a file that came into force after that one, in order."""
        return self._select("WHERE path = ? AND n > ? AND state IN ('applied', 'found') ORDER BY n", path, n)

    def undone_by(self, n: int) -> Change | None:
        """The change that has undone this one, unless that was undone itself."""
        undoing = self._select("WHERE undoes = ? AND state = 'applied' ORDER BY n DESC LIMIT 1", n)
        return undoing[0] if undoing and not self.undone_by(undoing[0].n) else None

    def last(self, path: str) -> Change | None:
        """The last change of a file that came into force."""
        found = self._select("WHERE path = ? AND state IN ('applied', 'found') ORDER BY n DESC LIMIT 1", path)
        return found[0] if found else None

    def text(self, digest: str | None) -> Text | None:
        """A version by its digest, None for the missing file; None where it was removed for its age."""
        if digest is None:
            return Text("", digest_of(""), exists=False)
        if not self._path.exists():
            return None
        with self._opened() as database:
            row = database.execute("SELECT text FROM texts WHERE digest = ?", (digest,)).fetchone()
        return Text(row[0], digest) if row else None

    def _select(self, where: str, *values: object) -> list[Change]:
        if not self._path.exists():
            return []
        with self._opened() as database:
            return [Change(*row) for row in database.execute(f"SELECT {_COLUMNS} FROM changes {where}", values)]  # noqa: S608

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The file, in one transaction."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)) as database:
                # DELETE and FULL: what was committed is on the disk, and no other file is needed for it.
                database.execute("PRAGMA synchronous = FULL")
                database.executescript(_SCHEMA)
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise CannotWriteError(
                f"{self._path} cannot be used: {error}: it must belong to the console's user, with room on its disk"
            ) from error


def _remove_old(database: sqlite3.Connection) -> None:
    """What is beyond the bounds, and texts that no change has any more."""
    (last,) = database.execute("SELECT max(n) FROM changes").fetchone()
    database.execute("DELETE FROM changes WHERE n <= ? AND state != 'pending'", (last - MOST_CHANGES,))
    unused = "SELECT digest FROM changes UNION SELECT digest_before FROM changes WHERE digest_before IS NOT NULL"
    (size,) = database.execute("SELECT total(length(text)) FROM texts").fetchone()
    if size > MOST_BYTES:
        database.execute("DELETE FROM changes WHERE n IN (SELECT n FROM changes ORDER BY n LIMIT ?)", (last // 2 + 1,))
    database.execute(f"DELETE FROM texts WHERE digest NOT IN ({unused})")  # noqa: S608 - no value in it
