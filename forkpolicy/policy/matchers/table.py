"""ACLs whose values stand in compiled tables, and which part of an attribute each kind of table is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.parts import Finding, Part
from forkpolicy.tables.keys import split_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.policy.matchers.parts import Lookup
    from forkpolicy.policy.nodes import Word


def domain_of_address(address: str) -> str:
    """The domain of a mail address, empty when it has none; a `domain` table is asked for it."""
    return address.rpartition("@")[2] if "@" in address else ""


def domain_of_text(text: str) -> str:
    """The domain of a login or other text that may be an address; all of it when it is none."""
    return split_address(text)[1] if "@" in text else text


class TablePart(Part):
    """One table and one attribute. `view`: what of the attribute is looked up; None: all of it."""

    def __init__(self, attribute: str, word: Word, lookup: Lookup, view: Callable[[str], str] | None) -> None:
        self.attributes = (attribute,)
        self.word = word
        self.lookup = lookup
        self.view = view

    def raw(self, *values: str) -> bytes | None:
        """The table's own answer."""
        value = values[0]
        return self.lookup.find(self.view(value) if self.view else value)

    def holds(self, *values: str) -> bool:
        """Whether the table has the value. Raises TableError when it cannot say."""
        return self.raw(*values) is not None

    def find(self, *values: str) -> Finding | None:
        """The entry that was found."""
        return _finding(self.lookup, self.raw(*values), self.word)


class PairPart(Part):
    """A `key` table asked for several attributes, joined by one blank: `acl pair table:NAME {sender}
    {client_address}`.
    """

    def __init__(self, attributes: tuple[str, ...], word: Word, lookup: Lookup) -> None:
        self.attributes = attributes
        self.word = word
        self.lookup = lookup

    def raw(self, *values: str) -> bytes | None:
        """The table's own answer."""
        return self.lookup.find(" ".join(values))

    def holds(self, *values: str) -> bool:
        """Whether the table has these values together. Raises TableError when it cannot say."""
        return self.raw(*values) is not None

    def find(self, *values: str) -> Finding | None:
        """The entry that was found."""
        return _finding(self.lookup, self.raw(*values), self.word)


def _finding(lookup: Lookup, raw: bytes | None, word: Word) -> Finding | None:
    if raw is None:
        return None
    entry = lookup.entry(raw)
    return Finding(entry.key, word.place, lookup.name, entry)
