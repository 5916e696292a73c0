"""`score >=5`: compares what `score` actions have added so far, the one number that no attribute carries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.nodes import Word

COMPARE = {
    ">": float.__gt__,
    ">=": float.__ge__,
    "<": float.__lt__,
    "<=": float.__le__,
    "=": float.__eq__,
}


def parse_score_comparison(text: str) -> tuple[str, float]:
    """`>=5`, `<-1.5` and the like: operator and number. Raises ValueError."""
    found = re.fullmatch(r"(>=|<=|>|<|=)?([+-]?\d+(?:\.\d+)?)", text, re.ASCII)
    if not found:
        raise ValueError(f'"{text}" is not a comparison of a score: expected >N, >=N, <N, <=N or =N')
    return found[1] or ">", float(found[2])


class ScoreMatcher(Matcher):
    """`acl bad score >=5`: compares what `score` actions have added so far."""

    def __init__(self, comparisons: list[tuple[tuple[str, float], Word]]) -> None:
        self.comparisons = comparisons

    def find(self, *values: str) -> Finding | None:
        """The first comparison that holds at this score, given as text."""
        score = float(values[0])
        for (operator, number), word in self.comparisons:
            if COMPARE[operator](score, number):
                return Finding(f"{word.text} at {score:g}", word.place)
        return None

    def covers(self) -> Extent:
        """Its comparisons."""
        return Extent(frozenset(("score", comparison) for comparison, _ in self.comparisons))


def _build(_type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    return [ScoreMatcher(context.parsed(words, parse_score_comparison))]


TYPE = AclType(_build)
