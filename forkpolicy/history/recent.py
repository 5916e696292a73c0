"""The newest decisions of a day: rows with their texts, in a table without an index, until there are many.

Each decision has a place of its own in every index of the settled ones. Written there second by second, each would cost
the disk a page in each: 50 kB for the 250 bytes of a decision, as was measured with three million of a day. Settled
twenty thousand at a time they share pages. A search looks at each of the recent ones, which takes milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

    from forkpolicy.history.texts import Texts

MOST: Final = 20_000
_COLUMNS: Final = (
    "n, id, at_ms, rule, site, client, sender, recipient, login, queue, instance, block, line, is_cut, is_odd"
)


def settle(connection: sqlite3.Connection, db: str, texts: Texts) -> None:
    """Move all of them, within the transaction of the caller, if there is one. Raises sqlite3.Error."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM {db}.recent ORDER BY n").fetchall()  # noqa: S608
    address = texts.address
    settled = (
        (*row[:5], texts.client(row[5]), address(row[6]), address(row[7]), address(row[8]), *row[9:]) for row in rows
    )
    marks = ", ".join("?" for _ in _COLUMNS.split(","))
    connection.executemany(f"INSERT INTO {db}.decisions ({_COLUMNS}) VALUES ({marks})", settled)  # noqa: S608
    connection.execute(f"DELETE FROM {db}.recent")  # noqa: S608
