"""Digests in held.db: what people chose, who is due, what was sent and what failed. Times are seconds since 1970.

What is new is what has a greater id than the last digest's `up_to`. It is noted once the release port has a digest: a
run that is killed in between sends it again. One that the next server refuses was not received: what it had is new
again. Functions run in a thread of database.py, those that change something in its transaction. Raises sqlite3.Error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.gateway.digest_messages import DigestFailure, DigestMail, DigestsDue, DueDigest, DueDigests
from forkpolicy.gateway.store_messages import ChooseDigest, DigestChoice
from forkpolicy.tables.keys import fold_address

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

# A timer may come some hours earlier than the day before.
_INTERVALS_S: Final = {"daily": 20 * 3600.0, "weekly": 7 * 86_400.0 - 4 * 3600.0}
MOST_MAILS: Final = 100
_MOST_ADDRESSES: Final = 200
_MOST_FAILURES: Final = 50
# What failed longer ago than that is over: nothing new was to be sent since.
_KEPT_S: Final = 14 * 86_400.0
_GREATEST_ERROR: Final = 500
# Walks the index from one address to the next: of its own SQLite sorts all that are held, for each page.
_ADDRESSES: Final = """SELECT DISTINCT recipient_key FROM held INDEXED BY held_recipient
  WHERE recipient_key > ? AND state = 'held' ORDER BY recipient_key LIMIT ?"""
_NEW: Final = "FROM held WHERE recipient_key = ? AND state = 'held' AND id > ?"
_MAILS: Final = """SELECT held.id, held.arrived_s, held.recipient, message.sender, message.from_header, message.subject,
  message.cause, message.spam_score FROM held JOIN message ON message.id = held.message
  WHERE held.recipient_key = ? AND held.state = 'held' AND held.id > ? AND held.id <= ?
  ORDER BY held.arrived_s DESC, held.id DESC LIMIT ?"""


class Terms(NamedTuple):
    """`language`: for who chose none. `token`: makes that of a copy's link, of its id and recipient."""

    language: str
    token: Callable[[int, str], str]


def choice_of(connection: sqlite3.Connection, address: str) -> DigestChoice:
    """What an address has chosen."""
    row = connection.execute(
        "SELECT schedule, language FROM digest_choice WHERE address = ?", (fold_address(address),)
    ).fetchone()
    return DigestChoice(str(row[0]), str(row[1])) if row else DigestChoice("", "")


def choose(connection: sqlite3.Connection, command: ChooseDigest, at_s: float) -> None:
    """Keep a choice; none of both is no row. Who wants no digest is missing none."""
    address = fold_address(command.address)
    connection.execute("DELETE FROM digest_choice WHERE address = ?", (address,))
    if command.schedule or command.language:
        _keep_choice(connection, address, command, at_s)
    if command.schedule == "off":
        clear_failure(connection, address)


def _keep_choice(connection: sqlite3.Connection, address: str, command: ChooseDigest, at_s: float) -> None:
    connection.execute(
        "INSERT INTO digest_choice (address, schedule, language, at_s, who) VALUES (?, ?, ?, ?, ?)",
        (address, command.schedule, command.language, at_s, command.by),
    )


def due_digests(connection: sqlite3.Connection, command: DigestsDue, terms: Terms, now_s: float) -> DueDigests:
    """Who is due, of some addresses."""
    most = max(1, min(command.most, _MOST_ADDRESSES))
    addresses = [str(address) for (address,) in connection.execute(_ADDRESSES, (command.after, most))]
    usual = {each: command.schedules.get(each.rpartition("@")[2]) for each in addresses}
    found = [_due(connection, each, usual[each], terms, now_s) for each in addresses]
    return DueDigests(tuple(each for each in found if each), addresses[-1] if len(addresses) == most else "")


def _due(
    connection: sqlite3.Connection, address: str, usual: str | None, terms: Terms, now_s: float
) -> DueDigest | None:
    choice = choice_of(connection, address)
    interval_s = _INTERVALS_S.get(choice.schedule or usual or "off")
    # Mail to a domain that is no longer served would leave for anywhere.
    if usual is None or interval_s is None:
        return None
    last = connection.execute("SELECT up_to, sent_s FROM digest WHERE address = ?", (address,)).fetchone()
    seen, sent_s = (int(last[0]), float(last[1])) if last else (0, 0.0)
    if 0 <= now_s - sent_s < interval_s:
        return None
    count, up_to = connection.execute(f"SELECT count(*), max(id) {_NEW}", (address, seen)).fetchone()
    if not count:
        return None
    rows = connection.execute(_MAILS, (address, seen, up_to, MOST_MAILS)).fetchall()
    mails = tuple(_mail(each, terms.token(each["id"], address)) for each in rows)
    return DueDigest(address, rows[0]["recipient"], choice.language or terms.language, count, up_to, mails)


def _mail(row: sqlite3.Row, token: str) -> DigestMail:
    return DigestMail(
        row["id"],
        row["arrived_s"],
        row["sender"],
        row["from_header"],
        row["subject"],
        row["cause"],
        row["spam_score"],
        token,
    )


def note_sent(connection: sqlite3.Connection, address: str, up_to: int, queue_id: str, at_s: float) -> None:
    """The release port has a digest."""
    connection.execute(
        "INSERT INTO digest (address, up_to, before, sent_s, queue_id) VALUES (?, ?, 0, ?, ?)"
        " ON CONFLICT (address) DO UPDATE SET before = digest.up_to, up_to = excluded.up_to,"
        " sent_s = excluded.sent_s, queue_id = excluded.queue_id",
        (address, up_to, at_s, queue_id),
    )


def note_outcome(connection: sqlite3.Connection, queue_id: str, status: str, words: str, at_s: float) -> bool:
    """What the mail log says of a queue id (mail_log.py): whether it is that of a digest."""
    row = connection.execute("SELECT address FROM digest WHERE queue_id = ? AND queue_id != ''", (queue_id,)).fetchone()
    if row is None:
        return False
    if status == "delivered":
        clear_failure(connection, row["address"])
        return True
    note_failure(connection, row["address"], words, at_s)
    if status == "refused":
        undo = "UPDATE digest SET up_to = before, sent_s = 0, queue_id = '' WHERE address = ?"
        connection.execute(undo, (row["address"],))
    return True


def note_failure(connection: sqlite3.Connection, about: str, error: str, at_s: float) -> None:
    """A digest failed: with another error it failed all the same, since the first."""
    connection.execute(
        "INSERT INTO digest_failure (about, error, since_s, last_s) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (about) DO UPDATE SET error = excluded.error, last_s = excluded.last_s",
        (about, error[:_GREATEST_ERROR], at_s, at_s),
    )


def clear_failure(connection: sqlite3.Connection, about: str) -> None:
    """It has gone well."""
    connection.execute("DELETE FROM digest_failure WHERE about = ?", (about,))


def note_run(connection: sqlite3.Connection, at_s: float) -> None:
    """Every address was looked at. What is kept of addresses that have no mail here any more goes: all is new then."""
    connection.execute("INSERT OR REPLACE INTO digest_run (id, ended_s) VALUES (1, ?)", (at_s,))
    clear_failure(connection, "")
    connection.execute("DELETE FROM digest_failure WHERE last_s < ?", (at_s - _KEPT_S,))
    connection.execute("DELETE FROM digest WHERE address NOT IN (SELECT recipient_key FROM held)")


def failures(connection: sqlite3.Connection) -> tuple[DigestFailure, ...]:
    """What fails, the newest first."""
    question = "SELECT about, error, since_s, last_s FROM digest_failure ORDER BY last_s DESC, about LIMIT ?"
    return tuple(DigestFailure(*each) for each in connection.execute(question, (_MOST_FAILURES,)))


def last_run_s(connection: sqlite3.Connection) -> float | None:
    """When the last run ended; None: there was none."""
    row = connection.execute("SELECT ended_s FROM digest_run").fetchone()
    return float(row[0]) if row else None
