"""Which requests a policy of the database is about: any of its members, whose sources and destinations all match."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

from forkpolicy.importing.cluebringer.items import CannotError, Items
from forkpolicy.importing.cluebringer.logic import NEVER, Condition, TooManyError, both, either, negated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.sql.database import Database
    from forkpolicy.importing.sql.dump import Row

# Each combination of settings that override each other becomes rules of its own.
_MOST_OVERRIDING: Final = 4


class Policies:
    """The policies of one database, by priority."""

    def __init__(self, database: Database, draft: Draft) -> None:
        self._database, self._draft = database, draft
        self._items = Items(draft, database.rows("policy_groups"), database.rows("policy_group_members"))
        self._conditions: dict[str, Condition] = {}
        members = self._of_policies("policy_members")
        living = [row for row in database.rows("policies") if row.get("disabled") != "1"]
        self.order = [row.get("id") for row in sorted(living, key=lambda row: number(row, "priority"))]
        for identity in self.order:
            self._conditions[identity] = self._condition(members.get(identity, []))

    def rows(self, table: str) -> list[tuple[Condition, Row]]:
        """The rows of a module, in the order of their policies, and when each applies."""
        rows = self._of_policies(table)
        conditions = ((self._conditions[identity], rows.get(identity, [])) for identity in self.order)
        return [(condition, row) for condition, found in conditions for row in found if condition]

    def _of_policies(self, table: str) -> dict[str, list[Row]]:
        """The rows of a table that are not disabled, by their policy."""
        found: dict[str, list[Row]] = {}
        for row in self._database.rows(table):
            if row.get("disabled") != "1":
                found.setdefault(row.get("policyid"), []).append(row)
        return found

    def effective(self, table: str, columns: tuple[str, ...]) -> Iterator[tuple[Condition, dict[str, str], Row]]:
        """Settings of which a policy of higher priority overrides those that it has: when, what, and a row of them."""
        rows = self.rows(table)
        if len(rows) > _MOST_OVERRIDING:
            reason = f"{len(rows)} rows that may override each other: more than {_MOST_OVERRIDING} are not carried over"
            self._draft.leave_out(rows[0][1].origin, table, reason, "one rule for each kind of mail")
            return
        try:
            combined = [(self._when(rows, chosen), chosen) for chosen in product((True, False), repeat=len(rows))]
        except TooManyError:
            self._draft.leave_out(rows[0][1].origin, table, "it would be more rules than anybody wants to read")
            return
        for condition, chosen in combined:
            taken = [row for (_, row), is_taken in zip(rows, chosen, strict=True) if is_taken]
            settings = {
                column: row.get(column) for row in taken for column in columns if row.values.get(column) is not None
            }
            if condition and taken:
                yield condition, settings, taken[-1]

    @staticmethod
    def _when(rows: list[tuple[Condition, Row]], chosen: tuple[bool, ...]) -> Condition:
        return both(
            *(condition if taken else negated(condition) for (condition, _), taken in zip(rows, chosen, strict=True))
        )

    def _condition(self, members: list[Row]) -> Condition:
        found = NEVER
        for row in members:
            try:
                source = self._items.condition(row.get("source"), "sender", row.origin)
                destination = self._items.condition(row.get("destination"), "recipient", row.origin)
                found = either(found, both(source, destination))
            except TooManyError:
                self._leave_out(row, "it would be more rules than anybody wants to read")
            except (CannotError, ValueError) as error:
                self._leave_out(row, str(error))
        return found

    def _leave_out(self, row: Row, reason: str) -> None:
        source, destination = row.get("source") or "any", row.get("destination") or "any"
        what = f"a member of policy {row.get('policyid')}: {source} to {destination}"
        reason = f"{reason}; policies that it overrides may decide more mail"
        self._draft.leave_out(row.origin, what, reason)


def number(row: Row, column: str) -> int:
    """A number in a column; 0 where there is none."""
    text = row.get(column)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 13 else 0
