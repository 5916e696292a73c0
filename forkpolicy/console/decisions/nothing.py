"""An empty page: what would fill it, and why nothing may be there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.history.asking.nothing import hints

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.history.place import Reader
    from forkpolicy.history.query import Query
    from forkpolicy.history.scope import Scope
    from forkpolicy.history_settings import HistorySettings


def reasons(
    history: Reader, settings: HistorySettings, query: Query, scope: Scope | None, now_s: float
) -> Iterator[str]:
    """Sentences. Raises HistoryError."""
    if scope is not None:
        yield f"decisions are kept for {settings.keep_days} days"
        whose = "recipients or logins of your domains" if scope.domains else "your addresses as recipient"
        yield f"this account sees those with {whose}; an administrator can change that"
    else:
        yield from hints(history, settings, now_s)
    if query.queues:
        yield "a mail has a queue id from its first accepted recipient on: what was refused before has none"
    if any("recipient" in names.columns and len(names.columns) == 1 for names in query.names):
        yield "what was decided before RCPT TO (at CONNECT, HELO or MAIL FROM) has no recipient: search by client:"
    if query.rules and scope is None:
        yield "rules are found by the line at which they stood then: a changed file has them at other lines"
