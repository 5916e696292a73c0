"""The audit: who did what, from where, on what, and why. Entries are never changed, and go after `audit_days`.

Each is a line of the log first, where a console that was captured cannot take it back. Raises CannotWriteError and
sqlite3.Error: what cannot be recorded must not be done, so an action is noted before it is done.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.database import AUDIT, Database
from forkpolicy.log_lines import logfmt_value

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

_MOST_CHARACTERS: Final = 1000
_SELECT: Final = "SELECT n, at_s, who, client, what, about, reason FROM entries"
_log: Final = logging.getLogger("forkpolicy.audit")
_log.setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class Entry:
    """`who`: an account, or `command line (USER)`. `client`: the address of the browser, where there is one. `about`:
    an account, a file, a table, a key.
    """

    n: int
    at_s: int
    who: str
    client: str
    what: str
    about: str
    reason: str


class Audit:
    """audit.sqlite in a directory."""

    def __init__(self, directory: str, keep_days: int, clock: Callable[[], float] = time.time) -> None:
        self._database, self._keep_s, self._clock = Database(directory, AUDIT), keep_days * 86_400, clock

    def note(self, who: str, what: str, on: str = "", reason: str = "", client: str = "") -> None:
        """One entry, for good."""
        said = {"who": who, "client": client, "what": what, "about": on, "reason": reason}
        said = {name: value[:_MOST_CHARACTERS] for name, value in said.items()}
        _log.info(" ".join(f"{name}={logfmt_value(value)}" for name, value in said.items() if value))
        with self._database.use() as connection:
            self._add(connection, said)

    def failed(self, name: str, client: str) -> None:
        """Somebody failed to sign in; an empty name has no account, and is a line of the log only."""
        if name:
            self.note(name, "failed to sign in", name, client=client)
        else:
            what = logfmt_value("failed to sign in, with an unknown name")
            _log.info("client=%s what=%s", logfmt_value(client), what)
            # The disk has as much to do as for an account, or the time would say which names have one.
            with self._database.use() as connection:
                self._add(connection, dict.fromkeys(("who", "client", "what", "about", "reason"), ""))
                connection.execute("DELETE FROM entries WHERE n = last_insert_rowid()")

    def _add(self, connection: sqlite3.Connection, said: Mapping[str, str]) -> None:
        now_s = int(self._clock())
        connection.execute("DELETE FROM entries WHERE at_s < ?", (now_s - self._keep_s,))
        connection.execute(
            "INSERT INTO entries (at_s, who, client, what, about, reason) VALUES (?, ?, ?, ?, ?, ?)",
            (now_s, *said.values()),
        )

    def find(self, who: str = "", about: str = "", before: int = 0, most: int = 1 << 53) -> list[Entry]:
        """The newest entries of whom and about what, all where that is empty, older than the entry `before`."""
        wanted = {"who = ?": who, "about = ?": about, "n < ?": before}
        conditions = " AND ".join(each for each, value in wanted.items() if value) or "1"
        values = [value for value in wanted.values() if value]
        with self._database.look() as connection:
            sql = f"{_SELECT} WHERE {conditions} ORDER BY n DESC LIMIT ?"
            rows = connection.execute(sql, (*values, most))
            return [Entry(*row) for row in rows]
