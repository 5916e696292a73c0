"""A query as SQL. Each part is answered by an index of its own; the server joins them (it knows how rare each is)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.postgresql.batch import key, text
from forkpolicy.tables.keys import ip_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from forkpolicy.history.query import Names, Query
    from forkpolicy.history.scope import Scope

LAST_CHARACTER: Final = "\U0010ffff"
# A bigint has more, and times are compared with it.
_FURTHEST_MS: Final = 1 << 62
OF_SCOPE: Final = (
    "((split_part(recipient, '@', -1) = ANY(%s) AND strpos(recipient, '@') > 0) OR "
    "(split_part(login, '@', -1) = ANY(%s) AND strpos(login, '@') > 0) OR recipient = ANY(%s))"
)


class Where(NamedTuple):
    """What stands behind WHERE, and its values."""

    text: str
    values: list[object]


def condition(connection: psycopg.Connection, query: Query) -> Where | None:
    """The condition of a query without its times; None where nothing can meet it."""
    parts: list[str] = []
    values: list[object] = []
    for ranges in query.clients:
        parts.append(_any("(client >= %s AND client <= %s)" for _ in ranges))
        values += [f"{ip_text(end)}" for both in ranges for end in both]
    for column, wanted in (("rule", _rules(connection, query)), ("site", _sites(connection, query))):
        for numbers in wanted:
            if not numbers:
                return None
            parts.append(f"{column} = ANY(%s)")
            values.append(numbers)
    for each in query.ids:
        parts.append("id = %s")
        values.append(text(each))
    for queue in query.queues:
        # Decisions before the first accepted recipient have no queue id: those of the same mail have its instance.
        of_mail = "SELECT instance FROM forkpolicy.decisions WHERE queue = %s"
        parts.append(f"(queue = %s OR instance = ANY(ARRAY({of_mail})))")
        values += [text(queue)] * 2
    parts += ["is_odd"] if query.odd else []
    for names in query.names:
        parts.append(_any(_named(column, names) for column in names.columns))
        values += _values(names) * len(names.columns)
    if query.scope:
        parts.append(OF_SCOPE)
        values += values_of(query.scope)
    return Where(" AND ".join(parts) or "true", values)


def values_of(scope: Scope) -> list[object]:
    """Those of OF_SCOPE."""
    domains, addresses = ([key(each) for each in sorted(some)] for some in (scope.domains, scope.addresses))
    return [domains, domains, addresses]


def times(query: Query) -> tuple[int, int]:
    """Since and until, as the server can compare them."""
    return max(query.since_ms, -_FURTHEST_MS), min(query.until_ms, _FURTHEST_MS)


def _rules(connection: psycopg.Connection, query: Query) -> list[list[int]]:
    """The rules that each word of the query allows."""
    by_line = "SELECT n FROM forkpolicy.rules WHERE line = %s OR line ILIKE %s"
    found = [_numbers(connection, by_line, text(rule), f"%/{_as_it_is(rule)}") for rule in query.rules]
    for verb in query.verbs:
        pattern = re.sub("(?<=[45])(nn|xx)", "__", _as_it_is(verb), flags=re.IGNORECASE)
        found.append(_numbers(connection, "SELECT n FROM forkpolicy.rules WHERE verb ILIKE %s", pattern))
    return found


def _sites(connection: psycopg.Connection, query: Query) -> list[list[int]]:
    """In any case. The collation C knows that of ASCII alone, as SQLite does."""
    sql = 'SELECT n FROM forkpolicy.sites WHERE lower(host COLLATE "C") = lower(%s::text COLLATE "C")'
    return [_numbers(connection, sql, text(host)) for host in query.hosts]


def _numbers(connection: psycopg.Connection, sql: str, *values: str) -> list[int]:
    return [number for (number,) in connection.execute(sql.encode(), values)]


def _named(column: str, names: Names) -> str:
    if names.domain:
        # Of a text without an @ it is the whole.
        return f"(split_part({column}, '@', -1) = %s AND strpos({column}, '@') > 0)"
    return f"({column} >= %s AND {column} < %s)" if names.beginning else f"{column} = %s"


def _values(names: Names) -> list[object]:
    if names.beginning:
        beginning = key(names.beginning)
        return [beginning, beginning + LAST_CHARACTER]
    return [key(names.domain or names.text)]


def _any(parts: Iterable[str]) -> str:
    return f"({' OR '.join(parts)})"


def _as_it_is(given: str) -> str:
    """A text within a pattern of LIKE."""
    return text(given).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
