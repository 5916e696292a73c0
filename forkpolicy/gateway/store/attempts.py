"""The tries to send a copy on, in held.db: one is committed before its first byte, and ended with what came of it.

A try without an end: the store was killed while Postfix may already have had the mail; `is_lost`: the connection broke
behind the last dot. The mail log may say that Postfix has it: each try has a name, which smtpd(8) logs as
orig_queue_id. Where it does not say so, the copy is sent again, and may arrive twice (ledger.py). Functions run in the
writing thread.
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


@dataclass(frozen=True, slots=True)
class Undecided:
    """The last try of a copy, of which it is not known whether Postfix took it. `lost_s`: when the connection broke;
    None: the store was killed. `taken`: the mail log says that Postfix has it, by that queue id.
    """

    id: int
    lost_s: float | None
    queue_id: str
    taken: bool


def releasing_after(connection: sqlite3.Connection, held: int, most: int) -> list[int]:
    """Rows in state `releasing` with a greater id, in order."""
    # Without a hint SQLite reads all rows in the order of their ids.
    question = "SELECT id FROM held INDEXED BY held_state WHERE state = 'releasing' AND id > ? ORDER BY id LIMIT ?"
    return [int(each) for (each,) in connection.execute(question, (held, most))]


def undecided(connection: sqlite3.Connection, held: int) -> Undecided | None:
    """The last try of a row that waits to be sent, where nobody knows what came of it."""
    row = connection.execute(
        "SELECT attempt.id, ended_s, queue_id, taken, is_lost FROM attempt JOIN held ON held.id = attempt.held"
        " WHERE held = ? AND state = 'releasing' ORDER BY attempt.id DESC LIMIT 1",
        (held,),
    ).fetchone()
    if row is None or not (row["ended_s"] is None or row["is_lost"]):
        return None
    return Undecided(row["id"], row["ended_s"], row["queue_id"], bool(row["taken"]))


def attempt_name(attempt: int, began_s: float) -> str:
    """The name of a try in Postfix's log. With its time: another store may have counted as far."""
    return f"held-{attempt}-{int(began_s * 1000)}"


def note_queue_id(connection: sqlite3.Connection, name: str, queue_id: str) -> int:
    """Postfix has begun to take the mail of a try, by its name; the try, 0 where what came of it is known."""
    _, number, _ = name.split("-")
    row = connection.execute("SELECT began_s, ended_s, is_lost FROM attempt WHERE id = ?", (int(number),)).fetchone()
    is_known = row is None or (row["ended_s"] is not None and not row["is_lost"])
    if is_known or attempt_name(int(number), row["began_s"]) != name:
        return 0
    connection.execute("UPDATE attempt SET queue_id = ? WHERE id = ?", (queue_id, int(number)))
    return int(number)


def note_taken(connection: sqlite3.Connection, attempt: int) -> None:
    """Postfix has the mail of a try, as its log says."""
    connection.execute("UPDATE attempt SET taken = 1 WHERE id = ?", (attempt,))


def undecided_queue_ids(connection: sqlite3.Connection) -> dict[str, int]:
    """Tries without an end for which Postfix has begun to take a mail, by its queue id."""
    question = "SELECT queue_id, id FROM attempt WHERE (ended_s IS NULL OR is_lost) AND queue_id != '' AND NOT taken"
    return {str(queue_id): int(attempt) for queue_id, attempt in connection.execute(question)}


def lose_attempt(connection: sqlite3.Connection, attempt: int, at_s: float, reply: str) -> None:
    """Note that the connection broke behind the last dot."""
    connection.execute("UPDATE attempt SET ended_s = ?, reply = ?, is_lost = 1 WHERE id = ?", (at_s, reply, attempt))


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
