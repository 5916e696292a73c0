"""Which rules are guarded by an index, and which are tried for every request.

A rule with a positive ACL of exact values, networks, expressions or a table need not be tried where that ACL cannot
hold: the ACL is its guard. Guards of one kind and one attribute share an index, which costs the same however many they
are; few of them cost less written out in code. So an index is made where asking all its guards would cost more.

No guard stands right of an ACL that counts or waits: that one must be asked when its turn comes, and only then.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.policy.matchers.guards import AskOnce, EntryValues, Exact, Expressions, Networks

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from forkpolicy.policy.matchers.guards import Guard
    from forkpolicy.policy.model import Acl, Rule

# Guards in the order in which they are preferred: the more a look-up narrows down, the better.
PREFERENCE: Final[Mapping[type, int]] = {Exact: 0, Networks: 1, EntryValues: 2, AskOnce: 3, Expressions: 4}
# What an index of a kind costs a decision, in microseconds (`python -m loadtest policies`).
COSTS_US: Final[Mapping[type, float]] = {Exact: 0.4, Networks: 0.5, AskOnce: 0.6, EntryValues: 0.6, Expressions: 1.0}


class Guarded(NamedTuple):
    """A rule by its number, one of its guards, and what asking that would cost a decision otherwise."""

    guard: Guard
    number: int
    asking_us: float


def guarded(rules: Sequence[Rule], costs_us: Mapping[type, float]) -> list[list[Guarded]]:
    """The guards of all rules that have one worth it, those of each index together."""
    choices = {rule.number: _choices(rule) for rule in rules}
    groups, poor = _grouped(choices, costs_us)
    if poor:
        # Too few for an index of their own: their rules join that of the second best guard, if they have one.
        choices = {number: choice[1:] if number in poor else choice for number, choice in choices.items()}
        groups, poor = _grouped(choices, costs_us)
    kept = ([each for each in group if each.number not in poor] for group in groups)
    return [group for group in kept if group]


def _grouped(
    choices: Mapping[int, list[list[Guarded]]], costs_us: Mapping[type, float]
) -> tuple[list[list[Guarded]], set[int]]:
    """The best guards of all rules by their index, and the numbers of the rules in an index that does not pay."""
    groups: dict[Hashable, list[Guarded]] = {}
    for choice in choices.values():
        for each in choice[0] if choice else ():
            groups.setdefault(_group(each.guard), []).append(each)
    poor = [each for each in groups.values() if _asking_us(each) < costs_us[type(each[0].guard)]]
    return list(groups.values()), {each.number for group in poor for each in group}


def _asking_us(group: list[Guarded]) -> float:
    return sum(each.asking_us for each in group)


def _choices(rule: Rule) -> list[list[Guarded]]:
    """The ways in which a rule may be guarded, the best first: one ACL each, by a guard for each of its matchers, or of
    the matchers of its terms.
    """
    free = takewhile(lambda term: not term[0].asked_once, rule.terms)
    ranked = [(_rank(acl, guards), guards) for acl, negated in free if not negated and (guards := _guards(rule, acl))]
    return [guards for _, guards in sorted(ranked, key=lambda each: each[0])]


def _guards(rule: Rule, acl: Acl) -> list[Guarded]:
    """The guards of an ACL; none where one of its matchers has none."""
    matchers = [matcher for each in acl.alternatives for matcher in each.matchers]
    guards = [Guarded(guard, rule.number, each.asking_us) for each in matchers if (guard := each.guard())]
    return guards if len(guards) == len(matchers) else []


def _rank(acl: Acl, guards: list[Guarded]) -> tuple[int, int]:
    """How good the guards of an ACL are, the smaller the better."""
    return max(_preference(each.guard) for each in guards), len(acl.words)


def _preference(guard: Guard) -> int:
    # A table that is asked for two attributes narrows down more than one that is asked for one.
    narrow = isinstance(guard, AskOnce) and len(guard.matcher.attributes) > 1
    wide = isinstance(guard, EntryValues) and guard.keys is None
    return PREFERENCE[type(guard)] - narrow + wide


def _group(guard: Guard) -> Hashable:
    """Equal for guards that share an index."""
    match guard:
        case AskOnce(matcher):
            return id(matcher)
        case EntryValues():
            return guard.shares
    return type(guard), guard.attribute
