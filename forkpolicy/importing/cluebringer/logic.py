"""Conditions in disjunctive normal form: a list of conjunctions of terms (`acl`, `!acl`), each a rule of ours. Pure.

Raises TooManyError where a condition would become more rules than anybody wants to read.
"""

from __future__ import annotations

from typing import Final

Condition = tuple[frozenset[str], ...]

ALWAYS: Final[Condition] = (frozenset(),)
NEVER: Final[Condition] = ()
_MOST_RULES: Final = 48


class TooManyError(Exception):
    """More rules than `_MOST_RULES`."""


def term(name: str) -> Condition:
    """One term."""
    return (frozenset({name}),)


def opposite(name: str) -> str:
    """The other of `acl` and `!acl`."""
    return name[1:] if name.startswith("!") else f"!{name}"


def either(*conditions: Condition) -> Condition:
    """Where one of them holds."""
    return _simple([each for condition in conditions for each in condition])


def both(*conditions: Condition) -> Condition:
    """Where all of them hold."""
    result = ALWAYS
    for condition in conditions:
        result = _simple([one | other for one in result for other in condition])
    return result


def negated(condition: Condition) -> Condition:
    """Where it does not hold."""
    return both(*(tuple(frozenset({opposite(name)}) for name in sorted(terms)) for terms in condition))


def _simple(conjunctions: list[frozenset[str]]) -> Condition:
    """Without contradictions, and without what a shorter one says already."""
    possible = [terms for terms in dict.fromkeys(conjunctions) if not any(opposite(name) in terms for name in terms)]
    kept: list[frozenset[str]] = []
    for terms in sorted(possible, key=len):
        if not any(other <= terms for other in kept):
            kept.append(terms)
            if len(kept) > _MOST_RULES:
                raise TooManyError
    return tuple(kept)
