"""A query as SQL for one day: which index it goes through, and what is looked at in the rows that come of it.

What a word stands for (an address, a domain, a network, a rule) is rows of a table of texts, and numbers of them in the
decisions. The word with the fewest decisions of this day is read through its index; a few thousand of them are sorted
at once. A single address with more is read in order from its index. Where every word has many decisions, the newest
of all are looked at one after the other: a page of them is soon full. Counting stops at MANY, so it costs little.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.query import Names
from forkpolicy.history.schema import ID_PART_BITS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from forkpolicy.history.query import Query
    from forkpolicy.history.scope import Scope

# So many rows are found through an index and sorted in a few hundredths of a second.
MANY: Final = 20_000
_LAST_CHARACTER: Final = "\U0010ffff"


class Where(NamedTuple):
    """What stands behind WHERE, and its values."""

    text: str
    values: list[object]


class _Among(NamedTuple):
    """A column of decisions must have the number of a row (`x`) of a table of texts that meets a condition. `recent`:
    the same of a recent decision, where its column has the text itself.
    """

    column: str
    table: str
    condition: str
    values: list[object]
    recent: Where | None = None

    def by_index(self, connection: sqlite3.Connection) -> Where:
        """Through the index: in order where there is one number, or else for a few decisions."""
        if len(numbers := self.numbers(connection, 2)) == 1:
            return Where(f"{self.column} = ?", list[object](numbers))
        return Where(f"{self.column} IN (SELECT x.n FROM {self.table} AS x WHERE {self.condition})", self.values)  # noqa: S608

    def row_by_row(self) -> Where:
        """For rows that were found otherwise. The plus sign keeps SQLite from the index."""
        where = f"x.n = +{self.column} AND {self.condition}"
        return Where(f"EXISTS (SELECT 1 FROM {self.table} AS x WHERE {where})", self.values)  # noqa: S608

    def numbers(self, connection: sqlite3.Connection, most: int) -> list[int]:
        """Its numbers, at most so many."""
        sql = f"SELECT x.n FROM {self.table} AS x WHERE {self.condition} LIMIT {most}"  # noqa: S608
        return [number for (number,) in connection.execute(sql, self.values)]

    def decisions(self, connection: sqlite3.Connection) -> int:
        """How many decisions have one of them; one more than MANY where there are more."""
        sql = (
            f"SELECT count(*) FROM (SELECT 1 FROM {self.table} AS x "  # noqa: S608
            f"CROSS JOIN decisions ON decisions.{self.column} = x.n WHERE {self.condition} LIMIT {MANY + 1})"
        )
        (count,) = connection.execute(sql, self.values).fetchone()
        return int(count)


def conditions(connection: sqlite3.Connection, query: Query) -> list[Where]:
    """Conditions of which a settled decision must meet one; none where none of this day can. There are several where
    an address may stand in several columns: each is read on its own, where all together would go through no index.
    """
    fixed = _all([*_fixed(query), *_ids(connection, query)])
    every = [*_rules(query), *_clients(query), *_sites(query)]
    in_columns = [[_names(column, names) for column in names.columns] for names in query.names]
    if query.scope:
        in_columns.append(list(_scope(query.scope)))
    # What stands nowhere in this day is in none of its columns.
    in_columns = [[each for each in columns if each.numbers(connection, 1)] for columns in in_columns]
    if not all(each.numbers(connection, 1) for each in every) or not all(in_columns):
        return []
    if query.ids or query.queues or query.odd:
        return [_all([fixed, *(each.row_by_row() for each in (*every, *chosen))]) for chosen in product(*in_columns)]
    return [_all([fixed, *_planned(connection, [*every, *chosen])]) for chosen in product(*in_columns)]


def recent_condition(query: Query) -> Where:
    """The condition that a recent decision must meet. All of them are looked at."""
    parts = [*_fixed(query), *(Where("decisions.id = ?", [each]) for each in query.ids)]
    parts += [each.recent or each.row_by_row() for each in (*_rules(query), *_clients(query), *_sites(query))]
    in_columns = [[_names(column, names) for column in names.columns] for names in query.names]
    parts += [_one_of([each.recent for each in columns if each.recent]) for columns in in_columns]
    parts += [_one_of([each.recent for each in _scope(query.scope) if each.recent])] if query.scope else []
    return _all(parts)


def _planned(connection: sqlite3.Connection, every: Sequence[_Among]) -> Iterator[Where]:
    """All of them; the one through whose index the decisions are found, if any, as its index wants it."""
    counted = [(each.decisions(connection), each) for each in every if each.column != "site"]
    count, driver = min(counted, key=lambda one: one[0], default=(0, None))
    if driver and count > MANY:
        driver = next((each for _, each in counted if len(each.numbers(connection, 2)) == 1), None)
    for each in every:
        yield each.by_index(connection) if each is driver else each.row_by_row()


def _all(every: Sequence[Where]) -> Where:
    return Where(" AND ".join(each.text for each in every), [value for each in every for value in each.values])


def _one_of(every: Sequence[Where]) -> Where:
    text = " OR ".join(each.text for each in every) or "0"
    return Where(f"({text})", [value for each in every for value in each.values])


def _fixed(query: Query) -> list[Where]:
    """What is in the decision itself."""
    parts = [Where("at_ms BETWEEN ? AND ?", [query.since_ms, query.until_ms])]
    # Decisions before the first accepted recipient have no queue id: those of the same mail have its instance.
    same = " UNION ALL ".join(f"SELECT instance FROM main.{table} WHERE queue = ?" for table in ("decisions", "recent"))  # noqa: S608
    parts += [Where(f"(queue = ? OR instance IN ({same}))", [each] * 3) for each in query.queues]
    return [*parts, Where("is_odd = 1", [])] if query.odd else parts


def _ids(connection: sqlite3.Connection, query: Query) -> Iterator[Where]:
    """The index of ids has parts."""
    if query.ids:
        (last,) = connection.execute("SELECT coalesce(max(n), 0) FROM decisions").fetchone()
        parts = ",".join(map(str, range((last >> ID_PART_BITS) + 1)))
        for each in query.ids:
            yield Where(f"(n >> {ID_PART_BITS}) IN ({parts}) AND decisions.id = ?", [each])


def _rules(query: Query) -> Iterator[_Among]:
    for rule in query.rules:
        yield _Among("rule", "rules", "(x.line = ? OR x.line LIKE ? ESCAPE '\\')", [rule, f"%/{_as_it_is(rule)}"])
    for verb in query.verbs:
        pattern = re.sub("(?<=[45])(nn|xx)", "__", _as_it_is(verb), flags=re.IGNORECASE)
        yield _Among("rule", "rules", "x.verb LIKE ? ESCAPE '\\'", [pattern])


def _clients(query: Query) -> Iterator[_Among]:
    for ranges in query.clients:
        values: list[object] = [end for both in ranges for end in both]
        of_row, recent = (
            f"({' OR '.join(f'{column} BETWEEN ? AND ?' for _ in ranges)})" for column in ("x.address", "client")
        )
        yield _Among("client", "clients", of_row, values, Where(recent, values))


def _sites(query: Query) -> Iterator[_Among]:
    """Hosts are few, and have no index. Their case does not matter."""
    return (_Among("site", "sites", "x.host = ? COLLATE NOCASE", [host]) for host in query.hosts)


def _names(column: str, names: Names) -> _Among:
    if names.domain:
        of_row, ending = "x.domain = (SELECT n FROM names WHERE text = ?)", f"@{names.domain}"
        # As bytes: within a text nothing is found behind a character that is zero.
        raw = ending.encode("utf-8", "surrogateescape")
        recent = Where(f"substr(CAST({column} AS BLOB), -length(?)) = ?", [raw, raw])
        return _Among(column, "names", of_row, [names.domain], recent)
    if names.beginning:
        values: list[object] = [names.beginning, names.beginning + _LAST_CHARACTER]
        recent = Where(f"({column} >= ? AND {column} < ?)", values)
        return _Among(column, "names", "x.text >= ? AND x.text < ?", values, recent)
    return _Among(column, "names", "x.text = ?", [names.text], Where(f"{column} = ?", [names.text]))


def _scope(scope: Scope) -> Iterator[_Among]:
    """A decision within a scope meets one of these."""
    if domains := sorted(scope.domains):
        of_row = f"x.domain IN (SELECT n FROM names WHERE text IN ({_marks(domains)}))"  # noqa: S608 - marks
        for column in ("recipient", "login"):
            recent = [_names(column, Names((column,), domain=each)).recent for each in domains]
            yield _Among(column, "names", of_row, [*domains], _one_of([each for each in recent if each]))
    if addresses := sorted(scope.addresses):
        recent_one = Where(f"recipient IN ({_marks(addresses)})", [*addresses])
        yield _Among("recipient", "names", f"x.text IN ({_marks(addresses)})", [*addresses], recent_one)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)


def _as_it_is(text: str) -> str:
    """A text within a pattern of LIKE."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
