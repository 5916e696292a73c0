"""What every kind of value has in common: a `Part` of an ACL holds or does not, and can say what made it hold.

An ACL is a list of parts, one of which is enough. A part is asked only when its attributes are known. `holds` is
the hot path's question and is as cheap as it can be; `find` is the explanation's and may take its time; they never
disagree. Whatever a part cannot answer (a table that cannot be read) raises; it is never "does not hold".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.policy.nodes import Place, Word


class TableEntry(Protocol):
    """What a table says about a key: the entry's own key and value, and where it comes from."""

    @property
    def key(self) -> str:
        """The key as it stands in the source."""

    @property
    def value(self) -> str | None:
        """The second column, if any."""

    @property
    def source(self) -> str:
        """The file, parameter or device that the entry comes from."""

    @property
    def line(self) -> int:
        """The line in the source, 0 where it has none."""


class Lookup(Protocol):
    """A table as the policy sees it. `find` raises while there is no usable table."""

    @property
    def name(self) -> str:
        """As the policy declares it."""

    @property
    def kind(self) -> str:
        """cidr, domain, address or key."""

    @property
    def find(self) -> Callable[[str], bytes | None]:
        """Look a text up. Fetched for each look-up: a new generation of the table brings a new function."""

    def entry(self, raw: bytes) -> TableEntry:
        """Decode what `find` returned."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What made a part hold: a value of the policy with its place, or an entry of a table."""

    text: str
    place: Place | None = None
    table: str = ""
    entry: TableEntry | None = None


class Part:
    """One way for an ACL to hold. `attributes`: what it is asked about, in the order of its arguments."""

    attributes: tuple[str, ...] = ()

    def holds(self, *values: str) -> bool:
        """Whether it holds for these values of `attributes`."""
        return self.find(*values) is not None

    def find(self, *values: str) -> Finding | None:
        """What made it hold, None when it does not."""
        raise NotImplementedError


class ExactPart(Part):
    """Values that are compared whole: one look-up in a dict whatever their number.

    `keys_of` lists the keys under which a value may stand, the most specific first.
    """

    def __init__(self, attribute: str, words: dict[str, Word], keys_of: Callable[[str], tuple[str, ...]]) -> None:
        self.attributes = (attribute,)
        self.words = words
        self.keys_of = keys_of

    def holds(self, *values: str) -> bool:
        """Whether one of the value's keys is listed."""
        words = self.words
        return any(key in words for key in self.keys_of(values[0]))

    def find(self, *values: str) -> Finding | None:
        """The most specific value that is listed."""
        word = next((self.words[key] for key in self.keys_of(values[0]) if key in self.words), None)
        return Finding(word.text, word.place) if word else None


class OneKeyPart(Part):
    """As ExactPart, for values that have one key only: `key_of` folds, the rest is a dict's."""

    def __init__(self, attribute: str, words: dict[str, Word], key_of: Callable[[str], str]) -> None:
        self.attributes = (attribute,)
        self.words = words
        self.key_of = key_of

    def keys_of(self, value: str) -> tuple[str, ...]:
        """The one key, as ExactPart has several."""
        return (self.key_of(value),)

    def holds(self, *values: str) -> bool:
        """Whether the value is listed."""
        return self.key_of(values[0]) in self.words

    def find(self, *values: str) -> Finding | None:
        """The value that is listed."""
        word = self.words.get(self.key_of(values[0]))
        return Finding(word.text, word.place) if word else None


class PresentPart(Part):
    """Holds when one of its attributes has a value: `authenticated`, `encrypted`; or, turned round, `null_sender`."""

    def __init__(self, attributes: tuple[str, ...], *, empty: bool = False) -> None:
        self.attributes = attributes
        self.empty = empty

    def holds(self, *values: str) -> bool:
        """Whether any value is there (`empty`: none is)."""
        return any(values) is not self.empty

    def find(self, *values: str) -> Finding | None:
        """Which one it is."""
        if not self.holds(*values):
            return None
        pairs = zip(self.attributes, values, strict=True)
        return Finding(next((f"{name}={value}" for name, value in pairs if value), f"{self.attributes[0]} is empty"))


class UnqualifiedPart(Part):
    """`acl bare unqualified recipient`: an address without a domain, as policies see it (rewriting.py)."""

    def __init__(self, word: Word) -> None:
        self.attributes = (word.text.lower(),)
        self.word = word

    def holds(self, *values: str) -> bool:
        """Whether there is an address and it has no domain."""
        return bool(values[0]) and not values[0].rpartition("@")[2 if "@" in values[0] else 0]

    def find(self, *values: str) -> Finding | None:
        """The attribute that has none."""
        return Finding(self.word.text, self.word.place) if self.holds(*values) else None


class SamePart(Part):
    """`acl same helo_name {client_name}`: two attributes are equal when folded, and there."""

    def __init__(self, attributes: tuple[str, str], word: Word, key_of: Callable[[str], str]) -> None:
        self.attributes = attributes
        self.word = word
        self.key_of = key_of

    def holds(self, *values: str) -> bool:
        """Whether both say the same; two that are empty say nothing."""
        first, second = values
        return bool(first) and self.key_of(first) == self.key_of(second)

    def find(self, *values: str) -> Finding | None:
        """The attribute that was compared with, and its value."""
        return Finding(f"{self.word.text} = {values[1]}", self.word.place) if self.holds(*values) else None
