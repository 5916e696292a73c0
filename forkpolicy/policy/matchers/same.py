"""`acl same helo_name {client_name}`: two attributes are equal when folded, and there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.policy.nodes import Word


class SameMatcher(Matcher):
    """Two attributes, compared by `key_of`."""

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

    def covers(self) -> Extent:
        """Only itself."""
        return Extent(frozenset({("same", self.attributes)}))
