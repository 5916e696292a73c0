"""`authenticated`, `encrypted` and `null_sender`: whether an attribute has a value. These types take none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Finding, Matcher
from forkpolicy.tables.keys import NULL_SENDER

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.matcher import Names


class PresentMatcher(Matcher):
    """Holds when one of its attributes has a value; `empty`: when none has."""

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

    def source(self, names: Names) -> str:
        """Comparisons alone. However an address is seen, it is there or not."""
        anything = " or ".join(f"{names.came(name)} != ''" for name in self.attributes)
        return f"not ({anything})" if self.empty else f"({anything})"

    def covers(self) -> Extent:
        """The null sender as an address pattern has it; else only itself."""
        if self.empty:
            return Extent(frozenset({(self.attributes[0], NULL_SENDER)}), space=self.attributes[0])
        return Extent(frozenset({("present", self.attributes)}))


def _type(attributes: tuple[str, ...], *, empty: bool = False) -> AclType:
    return AclType(lambda _type_word, _words, _context: [PresentMatcher(attributes, empty=empty)], takes_values=False)


AUTHENTICATED = _type(("sasl_username", "sasl_method"))
ENCRYPTED = _type(("encryption_protocol",))
NULL = _type(("sender",), empty=True)
