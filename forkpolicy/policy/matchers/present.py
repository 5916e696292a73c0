"""`authenticated`, `encrypted` and `null_sender`: whether an attribute has a value. These types take none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.matcher import Finding, Matcher

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
