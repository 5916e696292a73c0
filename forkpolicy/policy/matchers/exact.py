"""Values that are compared whole: one look-up in a dict whatever their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.guards import Exact
from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forkpolicy.policy.matchers.extent import Atom
    from forkpolicy.policy.matchers.guards import Guard, Lister
    from forkpolicy.policy.matchers.matcher import Names
    from forkpolicy.policy.nodes import Word


class Patterns(NamedTuple):
    """How the patterns of one attribute compare, given as their keys.

    `lister` gives the keys of a value; `above` those of all patterns that hold whenever one does, itself included;
    `overlaps` says whether one may hold together with another that has no key in common with it.
    """

    lister: Lister
    above: Callable[[str], Iterable[str]] = lambda key: (key,)
    overlaps: Callable[[str], bool] = lambda _key: False


class ExactMatcher(Matcher):
    """A value may stand under several keys, the most specific first."""

    asking_us = 0.9

    def __init__(self, attribute: str, words: dict[str, Word], patterns: Patterns) -> None:
        self.attributes = (attribute,)
        self.words = words
        self.patterns = patterns
        self.keys_of = patterns.lister(words)

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
        return Exact(self.attributes[0], self.words.keys(), self.patterns.lister)

    def covers(self) -> Extent:
        """Its keys, and whatever has one of the keys above them."""
        (name,) = self.attributes
        space = "" if any(map(self.patterns.overlaps, self.words)) else name
        return Extent(frozenset((name, key) for key in self.words), space=space, wider=self._wider)

    def _wider(self, atom: Atom) -> Iterable[Atom]:
        name, key = atom
        return ((name, each) for each in self.patterns.above(str(key)))


class OneKeyMatcher(ExactMatcher):
    """The same for values that have one key only: `key_of` folds, the rest is a dict's."""

    asking_us = 0.15

    def __init__(
        self, attribute: str, words: dict[str, Word], patterns: Patterns, key_of: Callable[[str], str]
    ) -> None:
        super().__init__(attribute, words, patterns)
        self.key_of = key_of

    def holds(self, *values: str) -> bool:
        """Whether the value is listed."""
        return self.key_of(values[0]) in self.words

    def find(self, *values: str) -> Finding | None:
        """The value that is listed."""
        word = self.words.get(self.key_of(values[0]))
        return Finding(word.text, word.place) if word else None

    def source(self, names: Names) -> str:
        """The look-up without a call of ours."""
        key_of, words = names.value("key_of", self.key_of), names.value("words", frozenset(self.words))
        return f"{key_of}({names.seen(self.attributes[0])}) in {words}"
