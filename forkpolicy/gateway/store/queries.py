"""Questions to held.db: whose mail a visitor sees is decided here, in `parts` alone.

Pages are found by an index of (who, state, arrived_s, id): a page costs the same whether ten or 200,000 are held.
Functions run in a thread of database.py. Raises NoSuchMailError, sqlite3.Error.
"""

from __future__ import annotations

import heapq
import json
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.gateway.store_messages import STATES, HeldRow, HeldRows, ListHeld, Scope, Wanted
from forkpolicy.tables.keys import fold_address, fold_domain

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

# The most rows of one page.
MOST_ROWS: Final = 1000
_COLUMNS: Final = """held.id, held.arrived_s, message.sender, held.recipient, message.subject, message.from_header,
  message.size_bytes, message.cause, held.why, message.spam_score, message.spam_auth, message.client_address,
  message.client_name, message.helo_name, message.queue_id, held.state, held.changed_s, held.changed_by,
  held.requested_by, held.backend_reply, held.new_queue_id"""
_FROM: Final = "FROM held JOIN message ON message.id = held.message"
_WITH_QUEUE_ID: Final = """held.id IN (
  SELECT copy.id FROM message AS mail JOIN held AS copy ON copy.message = mail.id WHERE mail.queue_id IN ({marks})
  UNION SELECT copy.id FROM held AS copy WHERE copy.new_queue_id != '' AND copy.new_queue_id IN ({marks}))"""
_LIKE: Final = str.maketrans({"%": r"\%", "_": r"\_", "\\": r"\\"})


class NoSuchMailError(LookupError):
    """There is no such mail, or it is another person's: a visitor cannot know which."""


class Condition(NamedTuple):
    """A part of a WHERE clause, and its values."""

    sql: str
    values: tuple[object, ...] = ()


def parts(scope: Scope) -> list[Condition]:
    """What a visitor sees: rows for which any of these holds; no part: nothing."""
    if scope.everything:
        return [Condition("1")]
    addresses = [Condition("held.recipient_key = ?", (fold_address(each),)) for each in dict.fromkeys(scope.addresses)]
    return addresses + [Condition("held.domain = ?", (fold_domain(each),)) for each in dict.fromkeys(scope.domains)]


def where(scope: Scope) -> Condition:
    """The same as one condition."""
    allowed = parts(scope)
    sql = " OR ".join(each.sql for each in allowed)
    return Condition(f"({sql or 0})", tuple(value for each in allowed for value in each.values))


def visible(connection: sqlite3.Connection, scope: Scope, ids: Iterable[int]) -> dict[int, str]:
    """The states of these rows, by id. Raises NoSuchMailError where one of them is not to be seen."""
    found = {}
    allowed = where(scope)
    question = f"SELECT state FROM held WHERE id = ? AND {allowed.sql}"  # noqa: S608 - texts of this file
    for held in ids:
        row = connection.execute(question, (held, *allowed.values)).fetchone()
        if row is None:
            raise NoSuchMailError(f"there is no mail {held}")
        found[held] = str(row[0])
    return found


def refuse_foreign(connection: sqlite3.Connection, scope: Scope, recipient: str) -> None:
    """Raises NoSuchMailError unless a visitor sees the mail of a recipient: an address, or a whole domain."""
    allowed = where(scope)
    key = recipient if "@" in recipient else ""
    question = f"SELECT 1 FROM (SELECT ? AS recipient_key, ? AS domain) AS held WHERE {allowed.sql}"  # noqa: S608 - texts of this file
    if connection.execute(question, (key, recipient.rpartition("@")[2], *allowed.values)).fetchone() is None:
        raise NoSuchMailError(f"there is no mail to {recipient}")


def list_held(connection: sqlite3.Connection, command: ListHeld) -> HeldRows:
    """A page, the newest first."""
    most = max(1, min(command.most, MOST_ROWS))
    states = (command.wanted.state,) if command.wanted.state else STATES
    pages = [_page(connection, command, part, state, most + 1) for part in parts(command.scope) for state in states]
    merged = heapq.merge(*pages, key=lambda row: (-row.arrived_s, -row.id))
    found = list(islice(_without_repeats(merged), most + 1))
    return HeldRows(tuple(found[:most]), len(found) > most)


def _page(
    connection: sqlite3.Connection, command: ListHeld, part: Condition, state: str, most: int
) -> Sequence[HeldRow]:
    conditions = [part, Condition("held.state = ?", (state,)), *_wanted(command.wanted)]
    if command.before_s is not None:
        conditions.append(
            Condition("(held.arrived_s, held.id) < (?, ?)", (command.before_s, command.before_id or 1 << 62))
        )
    where = " AND ".join(each.sql for each in conditions)
    values = [value for each in conditions for value in each.values]
    order = "ORDER BY held.arrived_s DESC, held.id DESC LIMIT ?"
    question = f"SELECT {_COLUMNS} {_FROM} WHERE {where} {order}"
    return [_row(each) for each in connection.execute(question, (*values, most))]


def _without_repeats(rows: Iterable[HeldRow]) -> Iterable[HeldRow]:
    """An address and its domain may both be in a scope: the same row comes twice, one behind the other."""
    before = None
    for row in rows:
        if row.id != before:
            yield row
        before = row.id


def _wanted(wanted: Wanted) -> Iterable[Condition]:
    if wanted.cause:
        yield Condition("message.cause = ?", (wanted.cause,))
    if wanted.recipient:
        yield Condition("held.recipient_key = ?", (fold_address(wanted.recipient),))
    if wanted.sender:
        yield Condition("fold_address(message.sender) = ?", (fold_address(wanted.sender),))
    if wanted.requested:
        yield Condition("held.requested_by != ''")
    if wanted.queue_ids:
        marks = ", ".join("?" * len(wanted.queue_ids))
        yield Condition(_WITH_QUEUE_ID.format(marks=marks), wanted.queue_ids * 2)
    if wanted.text:
        part = f"%{wanted.text.translate(_LIKE)}%"
        columns = ("message.subject", "message.sender", "held.recipient")
        like = " OR ".join(rf"{column} LIKE ? ESCAPE '\'" for column in columns)
        yield Condition(f"({like})", (part, part, part))


def show_held(
    connection: sqlite3.Connection, scope: Scope, held: int
) -> tuple[HeldRow, str, tuple[tuple[str, float], ...], tuple[tuple[float, str, str], ...]]:
    """One row, the digest of its mail, the scanner's symbols, what happened. Raises NoSuchMailError."""
    visible(connection, scope, (held,))
    question = f"SELECT {_COLUMNS}, message.digest, message.symbols {_FROM} WHERE held.id = ?"
    row = connection.execute(question, (held,)).fetchone()
    symbols = tuple((str(name), float(score)) for name, score in json.loads(row["symbols"]))
    events = connection.execute("SELECT at_s, who, what FROM event WHERE held = ? ORDER BY at_s, rowid", (held,))
    return _row(row), str(row["digest"]), symbols, tuple((float(at), str(who), str(what)) for at, who, what in events)


def digest_of(connection: sqlite3.Connection, scope: Scope, held: int) -> str:
    """The digest of the mail of a row. Raises NoSuchMailError."""
    visible(connection, scope, (held,))
    question = "SELECT digest FROM message JOIN held ON held.message = message.id WHERE held.id = ?"
    return str(connection.execute(question, (held,)).fetchone()[0])


def _row(row: sqlite3.Row) -> HeldRow:
    return HeldRow(*tuple(row)[: len(HeldRow.__dataclass_fields__)])


# Messages whose bytes are needed: a copy waits, or Postfix has it and the next server may refuse it, or the scanner is
# to learn it. Found by the indexes of states: what is over costs nothing.
NEEDED: Final = """(SELECT message FROM held WHERE state IN ('held', 'releasing', 'sent')
  UNION SELECT message FROM learning WHERE state IN ('wanted', 'later'))"""
_NEEDS: Final = """SELECT 1 FROM message WHERE digest = ? AND (
    EXISTS (SELECT 1 FROM held WHERE held.message = message.id AND state IN ('held', 'releasing', 'sent'))
    OR EXISTS (SELECT 1 FROM learning WHERE learning.message = message.id AND state IN ('wanted', 'later'))) LIMIT 1"""


def needs_file(connection: sqlite3.Connection, digest: str) -> bool:
    """Whether a copy or the scanner still needs the bytes of that mail."""
    return connection.execute(_NEEDS, (digest,)).fetchone() is not None


def needed_digests(connection: sqlite3.Connection) -> set[str]:
    """The digests of all mails whose bytes are still needed."""
    question = f"SELECT digest FROM message WHERE id IN {NEEDED}"  # noqa: S608 - a text of ours
    return {str(digest) for (digest,) in connection.execute(question)}


def count_by(connection: sqlite3.Connection, question: str) -> dict[str, int]:
    """What a question of two columns, a name and a number, says."""
    return {str(name): int(count) for name, count in connection.execute(question)}
