"""Sessions: who has signed in, for how long, and the cookie that a browser holds for it.

The cookie is `__Host-`: browsers take it from this origin alone, over TLS or from this machine itself.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.accounts import find_account, is_as_found, keeps_out
from forkpolicy.console.access.directory.person import LOCAL, Person
from forkpolicy.console.access.tokens import digest_of, new_secret

if TYPE_CHECKING:
    from forkpolicy.console.access.accounts import Kept
    from forkpolicy.console.access.database import Database

COOKIE: Final = "__Host-forkpolicy"
_ATTRIBUTES: Final = "Path=/; Secure; HttpOnly; SameSite=Lax"
IDLE_S: Final = 2 * 3600
# How often a session's last use is written.
_SEEN_EVERY_S: Final = 60
_MOST_OF_ONE: Final = 20


@dataclass(frozen=True, slots=True)
class Begun:
    """A session in a list. `client`: from where it was begun; times in seconds since 1970."""

    id: str
    client: str
    began_s: int
    seen_s: int


@dataclass(frozen=True, slots=True)
class Session:
    """`id` is for lists and logs, and no secret."""

    id: str
    owner: Kept | Person


@dataclass(frozen=True, slots=True)
class Present:
    """Somebody without an account who has sessions, with how many. `source`: who said who it is."""

    name: str
    source: str
    sessions: int


class Sessions:
    """The sessions of a database, which end after `hours`, or after two without use."""

    def __init__(self, database: Database, hours: int) -> None:
        self._database = database
        self._most_s = hours * 3600

    def begin(self, owner: Kept | Person, client: str) -> str | None:
        """A new session; the cookie's value. None where the account is not as it was found any more, or somebody
        without one has got one. The oldest of too many of one account ends.
        """
        secret, now_s, name = new_secret(), int(time.time()), owner.name
        with self._database.use() as connection:
            if not _may_begin(connection, owner):
                return None
            connection.execute("DELETE FROM sessions WHERE began_s < ? OR seen_s < ?", self._oldest(now_s))
            connection.execute(
                "DELETE FROM sessions WHERE digest IN "
                "(SELECT digest FROM sessions WHERE name = ? ORDER BY seen_s DESC LIMIT -1 OFFSET ?)",
                (name, _MOST_OF_ONE - 1),
            )
            source, addresses = (owner.source, owner.addresses) if isinstance(owner, Person) else (LOCAL, ())
            row = (digest_of(secret), secrets.token_hex(8), name, client, now_s, now_s, source)
            connection.execute(
                "INSERT INTO sessions (digest, id, name, client, began_s, seen_s, source, addresses)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, json.dumps(sorted(addresses))),
            )
        return secret

    def find(self, secret: str) -> Session | None:
        """The session of a cookie, if it has not ended and its account may sign in."""
        now_s = int(time.time())
        with self._database.look() as connection:
            row = connection.execute(
                "SELECT id, name, seen_s, source, addresses FROM sessions"
                " WHERE digest = ? AND began_s >= ? AND seen_s >= ?",
                (digest_of(secret), *self._oldest(now_s)),
            ).fetchone()
            if not row:
                return None
            owner = _owner(connection, *row[1:2], *row[3:])
        if now_s - row[2] > _SEEN_EVERY_S:
            self._saw(row[0], now_s)
        return Session(row[0], owner) if owner else None

    def _saw(self, session_id: str, now_s: int) -> None:
        # Pages can be looked at while the disk is full; who cannot be seen for two hours signs in again.
        with suppress(sqlite3.OperationalError), self._database.use() as connection:
            connection.execute("UPDATE sessions SET seen_s = ? WHERE id = ?", (now_s, session_id))

    def end(self, session_id: str) -> None:
        """End one by its id."""
        with self._database.use() as connection:
            connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))

    def end_all(self, name: str, but: str = "") -> None:
        """End those of an account, but one."""
        with self._database.use() as connection:
            connection.execute("DELETE FROM sessions WHERE name = ? AND id != ?", (name, but))

    def of(self, name: str) -> list[Begun]:
        """Those of an account that have not ended, the last used first."""
        with self._database.look() as connection:
            rows = connection.execute(
                "SELECT id, client, began_s, seen_s FROM sessions WHERE name = ? AND began_s >= ? AND seen_s >= ?"
                " ORDER BY seen_s DESC, id",
                (name, *self._oldest(int(time.time()))),
            )
            return [Begun(*row) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many each account has."""
        with self._database.look() as connection:
            return dict(
                connection.execute(
                    "SELECT name, count(*) FROM sessions WHERE began_s >= ? AND seen_s >= ? GROUP BY name",
                    self._oldest(int(time.time())),
                ).fetchall()
            )

    def present(self, most: int) -> list[Present]:
        """Who is signed in without an account, whose session was used last first."""
        with self._database.look() as connection:
            rows = connection.execute(
                "SELECT name, min(source), count(*) FROM sessions WHERE source != ? AND began_s >= ? AND seen_s >= ?"
                " GROUP BY name ORDER BY max(seen_s) DESC, name LIMIT ?",
                (LOCAL, *self._oldest(int(time.time())), most),
            )
            return [Present(*row) for row in rows]

    def _oldest(self, now_s: int) -> tuple[int, int]:
        return now_s - self._most_s, now_s - IDLE_S

    def cookie(self, secret: str) -> str:
        """Set-Cookie for a session."""
        return f"{COOKIE}={secret}; {_ATTRIBUTES}; Max-Age={self._most_s}"

    @staticmethod
    def no_cookie() -> str:
        """Set-Cookie that removes it."""
        return f"{COOKIE}=; {_ATTRIBUTES}; Max-Age=0"


def _may_begin(connection: sqlite3.Connection, owner: Kept | Person) -> bool:
    if isinstance(owner, Person):
        return not keeps_out(connection, owner.name)
    return is_as_found(connection, owner)


def _owner(connection: sqlite3.Connection, name: str, source: str, addresses: str) -> Kept | Person | None:
    """Whose session it is, if that may be signed in."""
    if source == LOCAL:
        found = find_account(connection, name)
        return found if found and not found.is_disabled else None
    if keeps_out(connection, name):
        return None
    return Person(name, source, frozenset(map(str, json.loads(addresses))))
