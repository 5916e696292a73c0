"""A decision as a row: for the page, for its JSON twin and for CSV; and what of it an account may see."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from forkpolicy.console.now.kinds import kind_of
from forkpolicy.console.page import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.history.place import Reader
    from forkpolicy.history.query import Query
    from forkpolicy.history.scope import Scope
    from forkpolicy.history.search import Found

COLUMNS: Final = ("time", "id", "verb", "client", "sender", "recipient", "login", "rule", "acls", "queue_id", "host")
# What tells of the server rather than of a mail.
_OF_SERVER: Final = ("rule", "acls", "host", "in_force")
_PART: Final = 5000


def row_of(found: Found, scope: Scope | None) -> dict[str, object]:
    """One decision as an account sees it; None: of the whole history."""
    row: dict[str, object] = {
        **{name: getattr(found, name) for name in COLUMNS},
        "at_s": found.at_ms / 1000,
        "in_force": found.in_force,
        "kind": kind_of(found.verb),
        "is_cut": found.is_cut,
        "is_sure": found.is_sure,
    }
    if scope is not None:
        row |= dict.fromkeys(_OF_SERVER)
        if found.login is not None and not scope.has_address(found.login):
            row["login"] = None
    return row


def csv_rows(history: Reader, query: Query, scope: Scope | None) -> Rows:
    """All decisions that meet a query, read as they are sent."""
    return Rows(COLUMNS, _lines(history, query, scope))


def _lines(history: Reader, query: Query, scope: Scope | None) -> Iterator[list[object]]:
    """Part by part: another thread may ask for each, and nothing is open in between."""
    while part := list(history.find(query, _PART)):
        for found in part:
            row: Mapping[str, object] = row_of(found, scope)
            yield [row[name] for name in COLUMNS]
        if len(part) < _PART:
            return
        query = replace(query, before=part[-1].cursor)
