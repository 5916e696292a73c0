"""The tries to send a copy on, in held.db: one is committed before its first byte, and ended with what came of it.

A try without an end: the store was killed, or the connection broke, while Postfix may already have had the mail. A
later one with an end then means that it may have arrived twice (ledger.py). Functions run in the writing thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.store.changes import add_event

if TYPE_CHECKING:
    import sqlite3

_WHO: Final = "release"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A copy that is to be sent on. `passed`: the policy let it go on, and the sender's DSN options stay."""

    held: int
    digest: str
    sender: str
    recipient: str
    smtputf8: bool
    body8: bool
    envid: str
    ret: str
    notify: str
    orcpt: str
    passed: bool
    queue_id: str


def releasing_after(connection: sqlite3.Connection, held: int, most: int) -> list[int]:
    """Rows in state `releasing` with a greater id, in order."""
    # Without a hint SQLite reads all rows in the order of their ids.
    question = "SELECT id FROM held INDEXED BY held_state WHERE state = 'releasing' AND id > ? ORDER BY id LIMIT ?"
    return [int(each) for (each,) in connection.execute(question, (held, most))]


def begin_attempt(connection: sqlite3.Connection, held: int, at_s: float) -> tuple[int, Outgoing] | None:
    """Note the try: its id, and what is to be sent. None where the row no longer waits for it."""
    row = connection.execute(
        "SELECT held.id, digest, sender, recipient, smtputf8, body8, envid, ret, notify, orcpt, passed, queue_id"
        " FROM held JOIN message ON message.id = held.message WHERE held.id = ? AND state = 'releasing'",
        (held,),
    ).fetchone()
    if row is None:
        return None
    attempt = connection.execute("INSERT INTO attempt (held, began_s) VALUES (?, ?)", (held, at_s)).lastrowid
    assert attempt is not None
    return attempt, Outgoing(**{**dict(zip(Outgoing.__slots__, row, strict=True)), **_flags(row)})


def _flags(row: sqlite3.Row) -> dict[str, bool]:
    return {name: bool(row[name]) for name in ("smtputf8", "body8", "passed")}


def end_attempt(connection: sqlite3.Connection, attempt: int, at_s: float, reply: str, queue_id: str = "") -> None:
    """Note what came of a try."""
    connection.execute(
        "UPDATE attempt SET ended_s = ?, reply = ?, queue_id = ? WHERE id = ?", (at_s, reply, queue_id, attempt)
    )


def mark_sent(connection: sqlite3.Connection, held: int, queue_id: str, reply: str, at_s: float) -> None:
    """Postfix has the copy."""
    connection.execute(
        "UPDATE held SET state = 'sent', new_queue_id = ?, backend_reply = '', changed_s = ?"
        " WHERE id = ? AND state = 'releasing'",
        (queue_id, at_s, held),
    )
    add_event(connection, held, at_s, _WHO, f"sent: {reply}")


def mark_refused(connection: sqlite3.Connection, held: int, reply: str, at_s: float) -> None:
    """Postfix, or the server behind it, refused the copy: it waits for a person again, with their words."""
    connection.execute(
        "UPDATE held SET state = 'held', backend_reply = ?, changed_s = ?, changed_by = ?"
        " WHERE id = ? AND state IN ('releasing', 'sent')",
        (reply, at_s, _WHO, held),
    )
    add_event(connection, held, at_s, _WHO, f"refused: {reply}")


def mark_delivered(connection: sqlite3.Connection, held: int, reply: str, at_s: float) -> None:
    """The next server took the copy."""
    connection.execute(
        "UPDATE held SET state = 'delivered', backend_reply = '', changed_s = ? WHERE id = ? AND state = 'sent'",
        (at_s, held),
    )
    add_event(connection, held, at_s, _WHO, f"delivered: {reply}")


def mark_waiting(connection: sqlite3.Connection, held: int, reply: str, at_s: float) -> None:
    """The copy could not go on yet, in words; once an event for the same words."""
    cursor = connection.execute(
        "UPDATE held SET backend_reply = ? WHERE id = ? AND state IN ('releasing', 'sent') AND backend_reply != ?",
        (reply, held, reply),
    )
    if cursor.rowcount:
        add_event(connection, held, at_s, _WHO, f"waits: {reply}")
