"""Values that are compared whole: one look-up in a dict whatever their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.guards import Exact
from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.policy.matchers.guards import Guard, Lister
    from forkpolicy.policy.matchers.matcher import Names
    from forkpolicy.policy.nodes import Word


class SeveralKeysMatcher(Matcher):
    """A value may stand under several keys, the most specific first, as `lister` has them for these words."""

    def __init__(self, attribute: str, words: dict[str, Word], lister: Lister) -> None:
        self.attributes = (attribute,)
        self.words = words
        self.lister = lister
        self.keys_of = lister(words)

    def holds(self, *values: str) -> bool:
        """Whether one of the value's keys is listed."""
        words = self.words
        return any(key in words for key in self.keys_of(values[0]))

    def find(self, *values: str) -> Finding | None:
        """The most specific value that is listed."""
        word = next((self.words[key] for key in self.keys_of(values[0]) if key in self.words), None)
        return Finding(word.text, word.place) if word else None

    def guard(self) -> Guard:
        """Its keys."""
        return Exact(self.attributes[0], self.words.keys(), self.lister)


class OneKeyMatcher(Matcher):
    """The same for values that have one key only: `key_of` folds, the rest is a dict's."""

    def __init__(self, attribute: str, words: dict[str, Word], key_of: Callable[[str], str], lister: Lister) -> None:
        self.attributes = (attribute,)
        self.words = words
        self.key_of = key_of
        self.lister = lister

    def holds(self, *values: str) -> bool:
        """Whether the value is listed."""
        return self.key_of(values[0]) in self.words

    def find(self, *values: str) -> Finding | None:
        """The value that is listed."""
        word = self.words.get(self.key_of(values[0]))
        return Finding(word.text, word.place) if word else None

    def guard(self) -> Guard:
        """Its keys."""
        return Exact(self.attributes[0], self.words.keys(), self.lister)

    def source(self, names: Names) -> str:
        """The look-up without a call of ours."""
        key_of, words = names.value("key_of", self.key_of), names.value("words", frozenset(self.words))
        return f"{key_of}({names.seen(self.attributes[0])}) in {words}"
