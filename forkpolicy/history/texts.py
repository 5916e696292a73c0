"""Texts of a day, which decisions have as numbers: addresses with their domains, clients, rules, sites.

A new text gets the next number of its table. Raises sqlite3.Error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.tables.keys import split_address

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Hashable

# Texts whose numbers are remembered; a busy site has more senders a day, and asks for the others.
_REMEMBERED: Final = 200_000
_TABLES: Final = ("names", "clients", "rules", "sites")


class Texts:
    """Those of the day that is attached as `db`."""

    def __init__(self, connection: sqlite3.Connection, db: str) -> None:
        self._connection, self._db = connection, db
        self._numbers: dict[tuple[str, Hashable], int] = {}
        self._lasts = {table: self._last(table) for table in _TABLES}

    def rule(self, line: str, verb: str, acls: str) -> int:
        """The number of a rule with what it replied."""
        return self._number("rules", {"line": line, "verb": verb, "acls": acls})

    def site(self, host: str, in_force: str) -> int:
        """The number of a host with what was in force there."""
        return self._number("sites", {"host": host, "in_force": in_force})

    def client(self, address: bytes | None) -> int | None:
        """The number of a client's address."""
        return self._number("clients", {"address": address}) if address else None

    def address(self, folded: str | None) -> int | None:
        """The number of a folded address; its domain has one of its own."""
        if folded is None:
            return None
        known = self._numbers.get(("names", folded))
        if known is not None:
            return known
        domain = split_address(folded)[1]
        of_domain = self._number("names", {"text": domain}) if domain else None
        return self._number("names", {"text": folded}, {"domain": of_domain})

    def _number(self, table: str, unique: dict[str, object], more: dict[str, object] | None = None) -> int:
        key = (table, next(iter(unique.values())) if len(unique) == 1 else tuple(unique.values()))
        number = self._numbers.get(key)
        if number is not None:
            return number
        if len(self._numbers) >= _REMEMBERED:
            self._numbers.clear()
        where = " AND ".join(f"{column} = ?" for column in unique)
        sql = f"SELECT n FROM {self._db}.{table} WHERE {where}"  # noqa: S608 - names of ours
        found = self._connection.execute(sql, [*unique.values()]).fetchone()
        if found:
            number = int(found[0])
        else:
            number = self._lasts[table] = self._lasts[table] + 1
            columns = {"n": number, **unique, **(more or {})}
            marks = ", ".join("?" for _ in columns)
            sql = f"INSERT INTO {self._db}.{table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
            self._connection.execute(sql, [*columns.values()])
        self._numbers[key] = number
        return number

    def _last(self, table: str) -> int:
        (last,) = self._connection.execute(f"SELECT max(n) FROM {self._db}.{table}").fetchone()  # noqa: S608
        return last or 0
