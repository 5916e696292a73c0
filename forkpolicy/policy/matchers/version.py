"""Versions of Postfix: `mail_version >=3.9`, `compatibility_level <3.6`; number by number, so that 3.10 follows 3.9.

A number that is missing is 0, as in postconf(5) of compatibility_level. What stands behind a dash (a snapshot's date)
is not compared.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.nodes import Word

# No version has more numbers or longer ones; a request may bring anything.
VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,7}", re.ASCII)

COMPARE = {
    ">": tuple.__gt__,
    ">=": tuple.__ge__,
    "<": tuple.__lt__,
    "<=": tuple.__le__,
    "=": tuple.__eq__,
}

Version = tuple[int, ...]
"""Its numbers, zeros at the end left out."""


def parse_version_comparison(text: str) -> tuple[str, Version]:
    """Operator and version of `>=3.9` and the like. Raises ValueError."""
    operator = text[: len(text) - len(text.lstrip("<>="))]
    version = parse_version(text[len(operator) :])
    if version is None:
        raise ValueError(f'"{text}" is not a comparison of versions: expected >N, >=N, <N, <=N or =N, such as >=3.9')
    if operator not in COMPARE:
        raise ValueError(f'"{text}" does not say how to compare: write ={text.lstrip("<>=")} or >={text.lstrip("<>=")}')
    return operator, version


def parse_version(text: str) -> Version | None:
    """The numbers of `3.9.1` or `3.10-20240101`; None for what is not a version."""
    number = text.partition("-")[0]
    if not VERSION.fullmatch(number):
        return None
    version = [int(each) for each in number.split(".")]
    while version and not version[-1]:
        version.pop()
    return tuple(version)


class VersionMatcher(Matcher):
    """Comparisons of one attribute. A value that is not a version holds in none."""

    def __init__(self, attribute: str, comparisons: list[tuple[tuple[str, Version], Word]]) -> None:
        self.attributes = (attribute,)
        self.comparisons = comparisons

    def find(self, *values: str) -> Finding | None:
        """The first comparison that holds."""
        version = parse_version(values[0])
        if version is None:
            return None
        for (operator, other), word in self.comparisons:
            if COMPARE[operator](version, other):
                return Finding(word.text, word.place)
        return None

    def covers(self) -> Extent:
        """Its comparisons."""
        (name,) = self.attributes
        return Extent(frozenset((name, comparison) for comparison, _ in self.comparisons))


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    return [VersionMatcher(type_word.text.lower(), context.parsed(words, parse_version_comparison))]


TYPE = AclType(_build)
