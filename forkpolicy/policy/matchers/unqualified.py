"""`unqualified sender recipient`: an address without a domain, as policies see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.nodes import Word

# What it may be asked about.
ENVELOPE = ("sender", "recipient")


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

    def covers(self) -> Extent:
        """Only itself."""
        return Extent(frozenset({("unqualified", self.attributes)}))


def _build(_type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    wrong = [word for word in words if word.text.lower() not in ENVELOPE]
    for word in wrong:
        context.wrong(word, f'"{word.text}" is not a value of unqualified: expected {" or ".join(ENVELOPE)}')
    return [UnqualifiedMatcher(word) for word in words if word not in wrong]


TYPE = AclType(_build)
