"""What a link of a digest shows, and what it does once. A link is all that its visitor has: no scope, no session.

What is wrong with a token in any way is an unknown one (NoSuchMailError): a visitor cannot try which copies there are.
Functions run in a thread of database.py. Raises sqlite3.Error, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.gateway.digest_messages import LINK_ACTIONS, LinkedMail
from forkpolicy.gateway.store.changes import Change, change_held
from forkpolicy.gateway.store.digests import choice_of
from forkpolicy.gateway.store.link_tokens import LinkTokens, read_token
from forkpolicy.gateway.store.queries import NoSuchMailError
from forkpolicy.gateway.store_messages import Scope

if TYPE_CHECKING:
    import sqlite3

_STATES: Final = {"release": ("releasing", "released"), "delete": ("deleted", "deleted")}
assert tuple(_STATES) == LINK_ACTIONS
_QUESTION: Final = """SELECT held.id, held.recipient, held.recipient_key, held.state, held.arrived_s, message.sender,
  message.from_header, message.subject, message.cause, message.spam_score, link_use.action
  FROM held JOIN message ON message.id = held.message LEFT JOIN link_use ON link_use.held = held.id
  WHERE held.id = ?"""


class Found(NamedTuple):
    """A link that is ours, with the row of its copy. `standing`: as in LinkedMail."""

    row: sqlite3.Row
    until_s: int
    standing: str


def find_link(connection: sqlite3.Connection, tokens: LinkTokens, token: str, now_s: float) -> Found:
    """What a token is about. Raises NoSuchMailError."""
    link = read_token(token)
    row = connection.execute(_QUESTION, (link.held,)).fetchone() if link else None
    if link is None or row is None or not tokens.is_ours(link, row["recipient_key"]):
        raise NoSuchMailError("there is no such link")
    if row["action"]:
        return Found(row, link.until_s, "used")
    if now_s >= link.until_s:
        return Found(row, link.until_s, "expired")
    return Found(row, link.until_s, "open" if row["state"] == "held" else "changed")


def use_link(connection: sqlite3.Connection, tokens: LinkTokens, token: str, action: str, now_s: float) -> int:
    """Do it, if the link is open and may: the id of the copy, 0 where nothing was done. Raises NoSuchMailError."""
    found = find_link(connection, tokens, token, now_s)
    if found.standing != "open" or action not in actions_of(found):
        return 0
    address = found.row["recipient_key"]
    state, what = _STATES[action]
    change = Change(state, address, f"{what} by the link of a digest", now_s)
    change_held(connection, Scope(addresses=(address,)), (found.row["id"],), change)
    connection.execute("INSERT INTO link_use (held, at_s, action) VALUES (?, ?, ?)", (found.row["id"], now_s, action))
    return int(found.row["id"])


def actions_of(found: Found) -> tuple[str, ...]:
    """What a link may still do: a virus is released by an administrator alone."""
    if found.standing != "open":
        return ()
    return tuple(each for each in LINK_ACTIONS if each != "release" or found.row["cause"] != "virus")


def linked_mail(connection: sqlite3.Connection, found: Found, usual_language: str) -> LinkedMail:
    """The reply about a link. One that does nothing any more does not show what the mail was, either."""
    row = found.row
    language = choice_of(connection, row["recipient_key"]).language or usual_language
    head = (row["id"], found.standing, language, row["recipient"], row["state"])
    if found.standing != "open":
        return LinkedMail(*head, used_for=row["action"] or "")
    return LinkedMail(
        *head,
        sender=row["sender"],
        from_header=row["from_header"],
        subject=row["subject"],
        cause=row["cause"],
        spam_score=row["spam_score"],
        arrived_s=row["arrived_s"],
        until_s=found.until_s,
        actions=actions_of(found),
    )
