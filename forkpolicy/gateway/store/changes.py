"""Changes of state in held.db that people and time make. Each is `... where state = 'held'`: of six clicks one acts.

Functions run in the writing thread of database.py, in its transaction; files go afterwards (`remove_unneeded`), so that
no row ever waits without its file. Times are seconds since 1970. Raises NoSuchMailError, and changes nothing then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.gateway.store.queries import needs_file, refuse_foreign, visible, where
from forkpolicy.gateway.store_messages import Changed, HideSender, Scope
from forkpolicy.tables.keys import fold_address, fold_domain

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from forkpolicy.gateway.store.mail_files import MailFiles


class Change(NamedTuple):
    """What is asked of rows that wait: `what` stands among what happened; `learn` is empty, spam or ham."""

    state: str
    by: str
    what: str
    at_s: float
    learn: str = ""


def change_held(connection: sqlite3.Connection, scope: Scope, ids: Iterable[int], change: Change) -> Changed:
    """Give rows another state, those that wait."""
    states = visible(connection, scope, dict.fromkeys(ids))
    already = []
    for held, state in states.items():
        if not _changed(connection, held, change):
            already.append((held, state))
    return Changed(len(states) - len(already), tuple(already))


def _changed(connection: sqlite3.Connection, held: int, change: Change) -> bool:
    # `passed`: what a person releases keeps no wish of the sender to be told.
    cursor = connection.execute(
        "UPDATE held SET state = ?, changed_s = ?, changed_by = ?, passed = 0, backend_reply = '', new_queue_id = ''"
        " WHERE id = ? AND state = 'held'",
        (change.state, change.at_s, change.by, held),
    )
    if not cursor.rowcount:
        return False
    add_event(connection, held, change.at_s, change.by, change.what)
    if change.learn:
        want_learning(connection, held, change.learn, change.at_s)
    return True


def request_release(connection: sqlite3.Connection, scope: Scope, ids: Iterable[int], by: str, at_s: float) -> Changed:
    """Note who asked for the release of rows that wait."""
    states = visible(connection, scope, dict.fromkeys(ids))
    already = []
    for held, state in states.items():
        cursor = connection.execute("UPDATE held SET requested_by = ? WHERE id = ? AND state = 'held'", (by, held))
        if cursor.rowcount:
            add_event(connection, held, at_s, by, "asked for its release")
        else:
            already.append((held, state))
    return Changed(len(states) - len(already), tuple(already))


def hide_sender(connection: sqlite3.Connection, command: HideSender, at_s: float) -> tuple[list[int], Changed]:
    """Delete what waits of a sender for a recipient in the scope, each an address or a whole domain; which rows.
    Raises NoSuchMailError for another recipient.
    """
    sender, recipient = map(_folded, (command.sender, command.recipient))
    refuse_foreign(connection, command.scope, recipient)
    allowed = where(command.scope)
    same = "fold_address(message.sender) = ?" if "@" in sender else "folded_domain_of(message.sender) = ?"
    own = "held.recipient_key = ?" if "@" in recipient else "held.domain = ?"
    found = connection.execute(
        "SELECT held.id FROM held JOIN message ON message.id = held.message"  # noqa: S608 - texts of ours
        f" WHERE {own} AND held.state = 'held' AND {same} AND {allowed.sql}",
        (recipient, sender, *allowed.values),
    ).fetchall()
    change = Change("deleted", command.by, f"deleted: {command.sender} is blocked", at_s)
    ids = [int(held) for (held,) in found]
    return ids, change_held(connection, command.scope, ids, change)


def _folded(pattern: str) -> str:
    """An address or a domain."""
    return fold_address(pattern) if "@" in pattern else fold_domain(pattern)


def want_learning(connection: sqlite3.Connection, held: int, learn: str, at_s: float) -> None:
    """Note that the scanner is to learn the mail of a row: the last wish counts."""
    (message,) = connection.execute("SELECT message FROM held WHERE id = ?", (held,)).fetchone()
    other = "ham" if learn == "spam" else "spam"
    connection.execute(
        "DELETE FROM learning WHERE message = ? AND class = ? AND state IN ('wanted', 'later')", (message, other)
    )
    connection.execute(
        "INSERT INTO learning (message, class, state, at_s) VALUES (?, ?, 'wanted', ?)"
        " ON CONFLICT (message, class) DO UPDATE SET state = 'wanted', at_s = excluded.at_s",
        (message, learn, at_s),
    )


def add_event(connection: sqlite3.Connection, held: int, at_s: float, who: str, what: str) -> None:
    """Note what happened to a row."""
    connection.execute("INSERT INTO event (held, at_s, who, what) VALUES (?, ?, ?, ?)", (held, at_s, who, what))


def digests_of(connection: sqlite3.Connection, ids: Iterable[int]) -> set[str]:
    """The digests of the mails of rows."""
    question = "SELECT digest FROM message JOIN held ON held.message = message.id WHERE held.id = ?"
    return {str(digest) for held in ids for (digest,) in connection.execute(question, (held,))}


def remove_unneeded(connection: sqlite3.Connection, files: MailFiles, digests: Iterable[str]) -> int:
    """Remove files that nothing needs any more; how many. In the thread that writes: no mail arrives meanwhile."""
    gone = [digest for digest in digests if not needs_file(connection, digest)]
    for digest in gone:
        files.remove(digest)
    return len(gone)
