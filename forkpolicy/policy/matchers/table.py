"""`table:NAME` as a value of an attribute: how a table is asked, and what it finds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.guards import AskOnce
from forkpolicy.policy.matchers.matcher import Asking, Finding, Matcher
from forkpolicy.tables.kinds.domain import domain_of_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.policy.matchers.extent import Atom
    from forkpolicy.policy.matchers.guards import Guard
    from forkpolicy.policy.matchers.matcher import Lookup, Names
    from forkpolicy.policy.nodes import Word
    from forkpolicy.tables.kinds.kind import View


class AskingMatcher(Matcher):
    """What every question to a table has in common. `raw` gives the table's own answer."""

    asking = Asking.FAILS
    # Whatever the number of rules with it, the table is asked once: each other rule looks at a variable.
    asking_us = 0.03
    lookup: Lookup

    def __init__(self, attributes: tuple[str, ...], word: Word, lookup: Lookup, asked: Sequence[str] = ()) -> None:
        """`asked`: what of the attributes is looked up, where that is not all of them."""
        self.attributes = attributes
        self.asked_about = asked or attributes
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

    def source(self, names: Names) -> str:
        """The look-up without a call of ours."""
        return f"{self.found_in_source(names)} is not None"

    def found_in_source(self, names: Names) -> str:
        """The expression of generated code that says what `raw` says. A table's `find` is replaced when a new one is
        loaded, so it is fetched each time.
        """
        return f"{names.value('table', self.lookup)}.find({self.key_in_source(names)})"

    def key_in_source(self, names: Names) -> str:
        """The expression of what the table is asked for, or several."""
        raise NotImplementedError

    @property
    def space(self) -> str:
        """The name of this question to this table."""
        return f"{self.lookup.name} {' '.join(self.asked_about)}"

    @property
    def atom(self) -> Atom:
        """The same as a value that ACLs have in common."""
        return ("table", self.space)

    def covers(self) -> Extent:
        """Only the same question to the same table, and whatever the entry's value must be."""
        return Extent(frozenset({self.atom}), frozenset({(number_space(self.space), -math.inf, math.inf)}))


class TableMatcher(AskingMatcher):
    """One table and one attribute. `view`: what of the attribute is looked up; None: all of it."""

    def __init__(self, attribute: str, word: Word, lookup: Lookup, view: View | None) -> None:
        super().__init__((attribute,), word, lookup, [asked_name(attribute, view)])
        self.view = view

    def raw(self, *values: str) -> bytes | None:
        """What the table has for the value."""
        value = values[0]
        return self.lookup.find(self.view(value) if self.view else value)

    def key_in_source(self, names: Names) -> str:
        """The attribute, or what is looked up of it."""
        return viewed_in_source(names, self.attributes[0], self.view)


def viewed_in_source(names: Names, attribute: str, view: View | None) -> str:
    """What of an attribute is looked up, as an expression of generated code."""
    if view is None:
        return names.seen(attribute)
    if view is domain_of_address:
        return names.domain(attribute)
    return f"{names.value('view', view)}({names.seen(attribute)})"


def asked_name(name: str, view: View | None) -> str:
    """The name of what is looked up of an attribute, or of a part of one: equal only for what is the same."""
    return f"{name.removesuffix('_domain')}_domain" if view is domain_of_address else name


def number_space(space: str) -> str:
    """The name of the numbers that the entries of a question may have, as spans are compared."""
    return f"{space} number"
