"""Accounts: who may sign in, as what, and their one-time links.

Names, domains and addresses are folded, so that one person has one account. Raises UserMistake for what cannot be such
a name, sqlite3.Error and CannotWriteError.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.account import Account
from forkpolicy.console.access.rights import Role
from forkpolicy.console.access.tokens import digest_of, new_secret
from forkpolicy.console.errors import UserMistake
from forkpolicy.tables.keys import fold_address, fold_domain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkpolicy.console.access.database import Database

LINK_DAYS: Final = 3
_DOMAIN: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}")


@dataclass(frozen=True, slots=True)
class Kept:
    """An account as it is kept. `password`: its hash; None: it has not been set yet."""

    name: str
    role: Role
    domains: frozenset[str]
    addresses: frozenset[str]
    password: str | None
    is_disabled: bool
    created_s: int

    @property
    def state(self) -> str:
        """In words."""
        return "disabled" if self.is_disabled else "active" if self.password else "has no password yet"

    def account(self, role: Role | None = None) -> Account:
        """As pages see it; with another role where it has not its own one from there."""
        return Account(self.name, role or self.role, self.domains, self.addresses)


class Accounts:
    """The accounts of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, role: Role, domains: Iterable[str] = (), addresses: Iterable[str] = ()) -> None:
        """A new account, which has no password yet."""
        name = folded_name(name)
        sees = (_json(map(folded_domain, domains)), _json(map(folded_address, addresses)))
        values = (name, role, *sees, int(time.time()))
        with self._database.use() as connection:
            if connection.execute("SELECT 1 FROM accounts WHERE name = ?", (name,)).fetchone():
                raise UserMistake(f"there is an account {name} already", "name")
            connection.execute(
                "INSERT INTO accounts (name, role, domains, addresses, created_s) VALUES (?, ?, ?, ?, ?)", values
            )

    def find(self, name: str) -> Kept | None:
        """The account of that name."""
        with self._database.look() as connection:
            return find_account(connection, name.strip().casefold())

    def keeps_out(self, address: str) -> bool:
        """Whether nobody may sign in with an address elsewhere: it is the name of an account, or belongs to one that is
        disabled.
        """
        with self._database.look() as connection:
            return keeps_out(connection, address)

    def all(self) -> list[Kept]:
        """Every account, by name."""
        with self._database.look() as connection:
            return [_kept(row) for row in connection.execute(f"{_SELECT} ORDER BY name")]

    def disable(self, name: str, *, even_last: bool = False) -> None:
        """End its sessions, and let it sign in no more, by a link neither. Raises UserMistake where there is no such
        account, or no other admin who may sign in.
        """
        with self._database.use() as connection:
            found = _other_than_last_admin(connection, name, even_last)
            connection.execute("UPDATE accounts SET is_disabled = 1 WHERE name = ?", (found.name,))
            connection.execute("DELETE FROM sessions WHERE name = ?", (found.name,))

    def enable(self, name: str) -> None:
        """Let it sign in again, with the password that it had. Raises UserMistake."""
        with self._database.use() as connection:
            found = _existing(connection, name)
            connection.execute("UPDATE accounts SET is_disabled = 0 WHERE name = ?", (found.name,))

    def delete(self, name: str, *, even_last: bool = False) -> None:
        """Remove it, with its sessions and links. Raises UserMistake as `disable` does."""
        with self._database.use() as connection:
            found = _other_than_last_admin(connection, name, even_last)
            for table in ("sessions", "links", "accounts"):
                connection.execute(f"DELETE FROM {table} WHERE name = ?", (found.name,))  # noqa: S608 - our own names

    def new_link(self, name: str) -> str:
        """The secret of a one-time link to set a password with, in place of earlier ones. Raises UserMistake where
        there is no such account.
        """
        secret = new_secret()
        with self._database.use() as connection:
            name = _existing(connection, name).name
            connection.execute("DELETE FROM links WHERE name = ?", (name,))
            until_s = int(time.time()) + LINK_DAYS * 86_400
            connection.execute("INSERT INTO links VALUES (?, ?, ?)", (digest_of(secret), name, until_s))
        return secret

    def of_link(self, secret: str) -> Kept | None:
        """Whose link it is, if it can still be used."""
        with self._database.look() as connection:
            return _of_link(connection, secret)

    def use_link(self, secret: str, password: str) -> Kept | None:
        """Set the password (a hash) of the link's account, once, and end its sessions; the account with it. None where
        the link was used or is too old.
        """
        with self._database.use() as connection:
            found = _of_link(connection, secret)
            if found:
                connection.execute("DELETE FROM links WHERE name = ?", (found.name,))
                _set_password(connection, found.name, password)
            return replace(found, password=password) if found else None

    def set_password(self, found: Kept, password: str) -> Kept | None:
        """Another password (a hash), which ends every session of the account and its links; the account with it. None
        where the account is not as it was found any more.
        """
        with self._database.use() as connection:
            if not is_as_found(connection, found):
                return None
            connection.execute("DELETE FROM links WHERE name = ?", (found.name,))
            _set_password(connection, found.name, password)
        return replace(found, password=password)

    def renew_hash(self, found: Kept, password: str) -> Kept:
        """Another hash of the same password, unless it was changed meanwhile; the account with it."""
        with self._database.use() as connection:
            connection.execute(
                "UPDATE accounts SET password = ? WHERE name = ? AND password = ?",
                (password, found.name, found.password),
            )
        return replace(found, password=password)


_SELECT: Final = "SELECT name, role, domains, addresses, password, is_disabled, created_s FROM accounts"


def folded_name(name: str) -> str:
    """A name as it is kept. Raises UserMistake."""
    folded = name.strip().casefold()
    if not _NAME.fullmatch(folded):
        raise UserMistake(
            f"{name!r} cannot be the name of an account: letters, digits and . _ - + @, at most 100", "name"
        )
    return folded


def folded_domain(text: str) -> str:
    """A domain as keys compare it. Raises UserMistake."""
    folded = fold_domain(text.strip().removeprefix("@"))
    if not _DOMAIN.fullmatch(folded):
        raise UserMistake(f"{text!r} is not a valid domain: expected one such as example.com", "domain")
    return folded


def folded_address(text: str) -> str:
    """A mail address as keys compare it. Raises UserMistake."""
    folded = fold_address(text.strip())
    local, _, domain = folded.rpartition("@")
    if not (local.isprintable() and local.strip('" ') and _DOMAIN.fullmatch(domain)):
        raise UserMistake(f"{text!r} is not a valid address: expected one such as anna@example.com", "address")
    return folded


def _existing(connection: sqlite3.Connection, name: str) -> Kept:
    found = find_account(connection, name.strip().casefold())
    if not found:
        raise UserMistake(f"there is no account {name}", "name")
    return found


def _other_than_last_admin(connection: sqlite3.Connection, name: str, even_last: bool) -> Kept:
    found = _existing(connection, name)
    others = "SELECT 1 FROM accounts WHERE role = ? AND NOT is_disabled AND name != ?"
    is_last = found.role is Role.ADMIN and not connection.execute(others, (Role.ADMIN, found.name)).fetchone()
    if is_last and not found.is_disabled and not even_last:
        raise UserMistake(
            f"{found.name} is the last admin who may sign in: make another one first, or add --force", "name"
        )
    return found


def _set_password(connection: sqlite3.Connection, name: str, password: str) -> None:
    connection.execute("UPDATE accounts SET password = ? WHERE name = ?", (password, name))
    connection.execute("DELETE FROM sessions WHERE name = ?", (name,))


def _of_link(connection: sqlite3.Connection, secret: str) -> Kept | None:
    row = connection.execute(
        "SELECT name FROM links WHERE digest = ? AND until_s > ?", (digest_of(secret), int(time.time()))
    ).fetchone()
    found = find_account(connection, row[0]) if row else None
    return found if found and not found.is_disabled else None


def find_account(connection: sqlite3.Connection, name: str) -> Kept | None:
    """The account of a folded name, within a transaction."""
    row = connection.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
    return _kept(row) if row else None


def keeps_out(connection: sqlite3.Connection, address: str) -> bool:
    """The same within a transaction."""
    if find_account(connection, address):
        return True
    disabled = connection.execute("SELECT addresses FROM accounts WHERE is_disabled")
    return any(address in json.loads(addresses) for (addresses,) in disabled)


def is_as_found(connection: sqlite3.Connection, found: Kept) -> bool:
    """Whether an account may still sign in with the password that was compared: to compare it takes a while."""
    now = find_account(connection, found.name)
    return now is not None and not now.is_disabled and now.password == found.password


def _kept(row: tuple[object, ...]) -> Kept:
    name, role, domains, addresses, password, is_disabled, created_s = map(str, row)
    try:
        sees = frozenset(map(str, json.loads(domains))), frozenset(map(str, json.loads(addresses)))
        return Kept(name, Role(role), *sees, None if row[4] is None else password, is_disabled != "0", int(created_s))
    except (ValueError, TypeError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"the account {name} is damaged: restore this file from a backup") from error


def _json(values: Iterable[str]) -> str:
    return json.dumps(sorted(set(values)))
