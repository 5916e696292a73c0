"""Regular expressions of the operator against text of strangers: RE2, linear whatever the input.

All expressions of one ACL go into one set: 0.5 us a look for one and for a thousand, where a search of each costs
1.5 us. They are searched for, not anchored, and fold case. Values short enough are remembered, since `sasl_method`
has three. The only module that imports re2.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import re2

from forkpolicy.policy.matchers.parts import Finding, Part

if TYPE_CHECKING:
    from forkpolicy.policy.nodes import Word

# No address, network or name has one of these, so a value that has one was meant as an expression (apolicy knew no
# other).
REGEX_CHARS = frozenset("()|^$*[]\\?")

# The DFA of a set grows with its patterns; RE2 answers "no match" when it may not, so it gets room: only what is
# used is allocated.
SET_BYTES = 256 << 20
REMEMBERED_VALUES = 2048
REMEMBERED_CHARS = 256

REASONS = {
    "invalid perl operator: (?": "look-around is not known here, since it cannot run in linear time",
    "invalid escape sequence: \\": "back-references and Python's own escapes are not known here (RE2 syntax)",
    "no argument for repetition operator: *": "a * repeats what stands before it, and nothing does",
}


def is_regex(text: str) -> bool:
    """Whether a value is an expression: between slashes, or with a character that no address or name can have."""
    return (len(text) > 2 and text[0] == text[-1] == "/") or (text[0] != "/" and not REGEX_CHARS.isdisjoint(text))


def expression_of(text: str) -> str:
    """The expression without its slashes."""
    return text[1:-1] if text[0] == text[-1] == "/" else text


class RegexPart(Part):
    """Every expression of one ACL."""

    def __init__(self, attribute: str, words: list[Word]) -> None:
        self.attributes = (attribute,)
        self.words = words
        self._set = re2.Set.SearchSet(_options())
        for word in words:
            self._set.Add(expression_of(word.text))
        self._set.Compile()
        self._remembered = lru_cache(maxsize=REMEMBERED_VALUES)(self.matching)

    def matching(self, value: str) -> list[int]:
        """Which expressions are found in the value, by their index."""
        found: list[int] = self._set.Match(value.encode("utf-8", "surrogateescape")) or []
        return found

    def remembered(self, value: str) -> list[int]:
        """The same, remembered for values short enough."""
        return self._remembered(value) if len(value) <= REMEMBERED_CHARS else self.matching(value)

    def holds(self, *values: str) -> bool:
        """Whether any expression is found."""
        return bool(self.remembered(values[0]))

    def find(self, *values: str) -> Finding | None:
        """The first expression, in the order of the policy, that is found."""
        found = self.matching(values[0])
        word = self.words[min(found)] if found else None
        return Finding(word.text, word.place) if word else None


def check_regex(text: str) -> None:
    """Raises ValueError with the reason when RE2 does not take an expression."""
    try:
        re2.compile(expression_of(text), _options())
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        words = next((f" ({words})" for start, words in REASONS.items() if reason.startswith(start)), "")
        raise ValueError(f"not a regular expression: {reason}{words}") from error


def _options() -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = SET_BYTES
    return options
