"""Rows of held.db that are over go with time, and with them the addresses in them; the ledger keeps their sums.

Over is a copy that was delivered, deleted or expired. The newest of a table stay, as SQLite would use their ids again,
and digests know by ids what is new. Tries of a copy that may have arrived twice stay, too: the ledger lists them, and
they have no address. Runs in the writing thread of database.py. Raises sqlite3.Error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

_OVER: Final = ("delivered", "deleted", "expired")
# By the index of (state, arrived_s): nothing changes before it arrives. What the scanner is still to learn stays.
_FIND: Final = """SELECT id, message, state FROM held WHERE state = ? AND arrived_s < ? AND changed_s < ?
  AND id < (SELECT max(id) FROM held) AND message < (SELECT max(id) FROM message)
  AND id != coalesce((SELECT held FROM attempt ORDER BY id DESC LIMIT 1), 0)
  AND NOT EXISTS (SELECT 1 FROM learning WHERE learning.message = held.message AND state IN ('wanted', 'later'))
  LIMIT ?"""
_FORGET: Final = (
    "DELETE FROM event WHERE held = ?1",
    "DELETE FROM link_use WHERE held = ?1",
    """DELETE FROM attempt WHERE held = ?1
      AND NOT (EXISTS (SELECT 1 FROM attempt WHERE held = ?1 AND (ended_s IS NULL OR is_lost))
        AND EXISTS (SELECT 1 FROM attempt WHERE held = ?1 AND reply LIKE '250 %'))""",
    "DELETE FROM held WHERE id = ?1",
)
_FORGET_MESSAGE: Final = "DELETE FROM message WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM held WHERE message = ?1)"


def prune(connection: sqlite3.Connection, before_s: float, most: int) -> int:
    """Remove at most so many rows that have been over since before then; how many were."""
    found = [row for state in _OVER for row in connection.execute(_FIND, (state, before_s, before_s, most))][:most]
    for held, message, state in found:
        for statement in _FORGET:
            connection.execute(statement, (held,))
        connection.execute(_FORGET_MESSAGE, (message,))
        connection.execute(
            "INSERT INTO pruned (state, copies) VALUES (?, 1) ON CONFLICT (state) DO UPDATE SET copies = copies + 1",
            (state,),
        )
    return len(found)
