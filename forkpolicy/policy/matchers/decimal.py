"""`spam_score >=8.5`: compares a number with decimals, which may be negative, that the gateway's store sends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Finding, Matcher
from forkpolicy.policy.matchers.score import COMPARE, parse_score_comparison

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.nodes import Word

_NUMBER = re.compile(r"[+-]?\d{1,18}(?:\.\d{1,18})?", re.ASCII)


class DecimalMatcher(Matcher):
    """Comparisons of one attribute. A value that is not a number meets none."""

    def __init__(self, attribute: str, comparisons: list[tuple[tuple[str, float], Word]]) -> None:
        self.attributes = (attribute,)
        self.comparisons = comparisons

    def find(self, *values: str) -> Finding | None:
        """The first comparison that holds."""
        if not _NUMBER.fullmatch(values[0]):
            return None
        number = float(values[0])
        for (operator, wanted), word in self.comparisons:
            if COMPARE[operator](number, wanted):
                return Finding(word.text, word.place)
        return None

    def covers(self) -> Extent:
        """Its comparisons."""
        (name,) = self.attributes
        return Extent(frozenset((name, comparison) for comparison, _ in self.comparisons))


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    return [DecimalMatcher(type_word.text.lower(), context.parsed(words, parse_score_comparison))]


TYPE = AclType(_build)
