"""`table:NAME` as a value of an attribute: how a table is asked, and what it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.guards import AskOnce
from forkpolicy.policy.matchers.matcher import Asking, Finding, Matcher
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.kinds.domain import domain_of_address

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.guards import Guard
    from forkpolicy.policy.matchers.matcher import Lookup, Names
    from forkpolicy.policy.nodes import Word
    from forkpolicy.tables.kinds.kind import Subject, View


class AskingMatcher(Matcher):
    """What every question to a table has in common. `raw` gives the table's own answer."""

    asking = Asking.FAILS
    # Whatever the number of rules with it, the table is asked once: each other rule looks at a variable.
    asking_us = 0.03
    lookup: Lookup

    def __init__(self, attributes: tuple[str, ...], word: Word, lookup: Lookup) -> None:
        self.attributes = attributes
        self.word = word
        self.lookup = lookup

    def raw(self, *values: str) -> bytes | None:
        """What the table has for the values. Raises TableError when it cannot say."""
        raise NotImplementedError

    def holds(self, *values: str) -> bool:
        """Whether the table has the values. Raises as `raw` does."""
        return self.raw(*values) is not None

    def find(self, *values: str) -> Finding | None:
        """The entry that was found."""
        raw = self.raw(*values)
        if raw is None:
            return None
        entry = self.lookup.entry(raw)
        return Finding(entry.key, self.word.place, self.lookup.name, entry)

    def guard(self) -> Guard:
        """Itself."""
        return AskOnce(self)

    def asked_in_source(self, names: Names, key: str) -> str:
        """The look-up of `key`. A table's `find` is replaced when a new one is loaded, so it is fetched each time."""
        return f"{names.value('table', self.lookup)}.find({key}) is not None"

    def covers(self) -> Extent:
        """Only the same question to the same table."""
        return Extent(frozenset({("table", (self.lookup.name, self.attributes))}))


class TableMatcher(AskingMatcher):
    """One table and one attribute. `view`: what of the attribute is looked up; None: all of it."""

    def __init__(self, attribute: str, word: Word, lookup: Lookup, view: View | None) -> None:
        super().__init__((attribute,), word, lookup)
        self.view = view

    def raw(self, *values: str) -> bytes | None:
        """What the table has for the value."""
        value = values[0]
        return self.lookup.find(self.view(value) if self.view else value)

    def source(self, names: Names) -> str:
        """The look-up without a call of ours."""
        (name,) = self.attributes
        if self.view is None:
            return self.asked_in_source(names, names.seen(name))
        if self.view is domain_of_address:
            return self.asked_in_source(names, names.domain(name))
        return self.asked_in_source(names, f"{names.value('view', self.view)}({names.seen(name)})")


def table_matchers(name: str, subject: Subject, word: Word, context: BuildContext) -> list[Matcher]:
    """The matcher of a value `table:NAME`, where that table is declared and of a kind that fits."""
    lookup = context.table(word, word.text[len("table:") :])
    if lookup is None:
        return []
    views = KINDS[lookup.kind].asked_for
    if subject in views:
        return [TableMatcher(name, word, lookup, views[subject])]
    fitting = " or ".join(kind for kind, each in KINDS.items() if subject in each.asked_for)
    context.wrong(word, f'table "{lookup.name}" is of kind {lookup.kind}: {name} needs {fitting}')
    return []
