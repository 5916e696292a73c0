"""Rows of held.db for a mail that arrives. Runs in the thread that writes, in a transaction of database.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.tables.keys import fold_address

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from forkpolicy.gateway.store.envelope import Envelope, Recipient
    from forkpolicy.gateway.store.letter import Letter


@dataclass(frozen=True, slots=True)
class Arrived:
    """A mail whose file is on disk. `client`: XFORWARD's names and values."""

    digest: str
    size_bytes: int
    at_s: float
    cause: str
    client: dict[str, str]
    envelope: Envelope
    letter: Letter


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a recipient's copy: it goes on at once, or it stays, and why in words."""

    recipient: Recipient
    passes: bool
    why: str


def insert_arrived(connection: sqlite3.Connection, mail: Arrived, fates: Sequence[Fate]) -> int:
    """Insert a row a recipient; what Postfix delivers for the second time is there already. How many are new."""
    message = _message(connection, mail)
    return sum(_insert_held(connection, message, mail.at_s, fate) for fate in fates)


def _message(connection: sqlite3.Connection, mail: Arrived) -> int:
    queue_id = mail.client.get("IDENT", "")
    row = connection.execute(
        "SELECT id FROM message WHERE queue_id = ? AND digest = ?", (queue_id, mail.digest)
    ).fetchone()
    if row:
        return int(row[0])
    letter, envelope, client = mail.letter, mail.envelope, mail.client
    values = {
        "digest": mail.digest,
        "queue_id": queue_id,
        "arrived_s": mail.at_s,
        "sender": envelope.sender,
        "size_bytes": mail.size_bytes,
        "subject": letter.subject,
        "from_header": letter.from_header,
        "message_id": letter.message_id,
        "client_address": client_address(client),
        "client_name": client.get("NAME", ""),
        "helo_name": client.get("HELO", ""),
        "cause": mail.cause,
        "spam_score": letter.spam_score,
        "spam_auth": letter.spam_auth,
        "symbols": json.dumps(letter.symbols),
        "smtputf8": envelope.smtputf8,
        "body8": envelope.body8,
        "envid": envelope.envid,
        "ret": envelope.ret,
    }
    return _insert(connection, "message", values)


def client_address(client: dict[str, str]) -> str:
    """The client's address; XFORWARD writes `IPV6:2001:db8::1`."""
    address = client.get("ADDR", "")
    return address[5:] if address.upper().startswith("IPV6:") else address


def _insert_held(connection: sqlite3.Connection, message: int, at_s: float, fate: Fate) -> bool:
    known = "SELECT 1 FROM held WHERE message = ? AND recipient = ?"
    if connection.execute(known, (message, fate.recipient.address)).fetchone():
        return False
    key = fold_address(fate.recipient.address)
    values = {
        "message": message,
        "recipient": fate.recipient.address,
        "recipient_key": key,
        "domain": key.rpartition("@")[2],
        "arrived_s": at_s,
        "state": "releasing" if fate.passes else "held",
        "why": fate.why,
        "changed_s": at_s,
        "changed_by": "policy",
        "notify": fate.recipient.notify,
        "orcpt": fate.recipient.orcpt,
        "passed": fate.passes,
    }
    held = _insert(connection, "held", values)
    what = "goes on" if fate.passes else "held"
    connection.execute("INSERT INTO event VALUES (?, ?, 'policy', ?)", (held, at_s, f"{what}: {fate.why}"))
    return True


def _insert(connection: sqlite3.Connection, table: str, values: dict[str, object]) -> int:
    names = ", ".join(values)
    marks = ", ".join("?" * len(values))
    # Names are those above, never a client's.
    cursor = connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608
    assert cursor.lastrowid is not None
    return cursor.lastrowid
