"""What Perl makes of the texts in a rule: numbers, negations, variables, expressions. Pure but for RE2."""

from __future__ import annotations

import re
from functools import lru_cache

from forkpolicy.importing.perl import perl_value
from forkpolicy.importing.postfwd.cannot import CannotError
from forkpolicy.policy.matchers.regex import RegexMatcher
from forkpolicy.policy.nodes import Place, Word

_NEGATION = re.compile(r"!!\s*\(?\s*(.+?)\s*\)?", re.DOTALL)
_PIECES = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|.", re.DOTALL)
# What stands for one character, and what makes that one optional.
_LITERALS = frozenset(("@", "-", "_", "\\.", "\\@", "\\-", "\\_"))
_OPTIONAL = frozenset(("*", "?", "{"))
_NUMBER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)", re.ASCII)
VARIABLE = re.compile(r"\$\$\s*(?:(\w+)|\((\w+)\))", re.ASCII)


def unnegated(value: str) -> str:
    """What stands behind `!!`, without one pair of brackets; empty where nothing is negated."""
    found = _NEGATION.fullmatch(value)
    return found[1] if found else ""


def number(text: str) -> float:
    """The number that a text begins with; 0 if it begins with none."""
    found = _NUMBER.match(text)
    return float(found[1]) if found else 0.0


def variable_of(value: str) -> str:
    """The name in a value that is nothing but `$$name` or `$$(name)`. Raises CannotError for a mixture."""
    if "$$" not in value:
        return ""
    found = VARIABLE.fullmatch(value)
    if not found:
        raise CannotError("a value put together from variables and text")
    return found[1] or found[2]


def expression(value: str) -> str:
    """The value of ours for an expression that postfwd searches for. Raises CannotError."""
    pattern = without_slashes(value)
    try:
        return perl_value(pattern)
    except ValueError as error:
        raise CannotError(f"the expression {pattern}: {error}") from error


def without_slashes(value: str) -> str:
    """An expression without one slash at each end."""
    value = value.removeprefix("/")
    return value.removesuffix("/")


def pieces_of(pattern: str) -> list[str]:
    """What an expression is made of: escapes and classes are whole."""
    return _PIECES.findall(pattern)


def _needed(pattern: str) -> str:
    """A character without which the expression is not found, if one is easily told: to ask RE2 takes 0.2 ms."""
    has_alternatives = "|" in pattern
    pieces = pieces_of(pattern)
    depth, needed = 0, ""
    for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
        if piece in "()":
            depth += 1 if piece == "(" else -1
        elif depth == 0 and piece == "|":
            return ""
        elif depth == 0 and following not in _OPTIONAL and (piece.isalnum() or piece in _LITERALS):
            needed = piece[-1]
            if not has_alternatives:
                break
    return needed


@lru_cache(maxsize=4096)
def finds(word: str, text: str) -> bool:
    """Whether an expression of ours is found in a text."""
    needed = _needed(word[1:-1])
    if needed and needed.casefold() not in text.casefold():
        return False
    return RegexMatcher("sender", [Word(word, Place("", 0, 0))]).holds(text)
