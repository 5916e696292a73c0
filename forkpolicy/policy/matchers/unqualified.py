"""`unqualified sender recipient`: an address without a domain, as policies see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from forkpolicy.policy.nodes import Word


class UnqualifiedMatcher(Matcher):
    """Of one attribute, which the word names."""

    def __init__(self, word: Word) -> None:
        self.attributes = (word.text.lower(),)
        self.word = word

    def holds(self, *values: str) -> bool:
        """Whether there is an address and it has no domain."""
        return bool(values[0]) and not values[0].rpartition("@")[2 if "@" in values[0] else 0]

    def find(self, *values: str) -> Finding | None:
        """The attribute that has none."""
        return Finding(self.word.text, self.word.place) if self.holds(*values) else None
