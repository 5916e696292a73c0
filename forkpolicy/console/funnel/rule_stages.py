"""What rules stopped at each of the two stages at which a gateway asks, from how often each rule fired. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.console.now.kinds import DEFERRED, OTHER, REFUSED, kind_of
from forkpolicy.gateway.setup.postfix_text import FRONT, LATE
from forkpolicy.policy.checks.rules import fits_context

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkpolicy.console.rules.counts import Counted, Hits
    from forkpolicy.policy.model import Rule

HELD: Final = "held"
# Of `other` actions, those after which a mail does not go where it was addressed to.
_HOLDING: Final = frozenset({"FILTER", "HOLD", "REDIRECT", "DISCARD"})
HOUR, DAY, MONTH = "1h", "24h", "30d"


class Stopping(NamedTuple):
    """A rule that stopped mail in a span: how, and how often."""

    rule: Rule
    stage: str
    result: str
    times: int


def stage_of(rule: Rule) -> str:
    """Where a rule acts: at the first stage at which it can, also where no policy_context is sent; empty: at none of
    them, as for the store.
    """
    if fits_context(rule, FRONT):
        return FRONT
    if fits_context(rule, LATE):
        return LATE
    return FRONT if fits_context(rule, "") else ""


def result_of(rule: Rule) -> str:
    """How it stops a mail; empty: it does not."""
    verb = rule.action.reply.text.partition(" ")[0]
    kind = kind_of(verb)
    if kind in (REFUSED, DEFERRED):
        return kind
    return HELD if kind == OTHER and verb.upper() in _HOLDING else ""


def stopping(rules: Iterable[Rule], counted: Counted, span: str) -> list[Stopping]:
    """The rules that stopped mail, those that did it most often first."""
    found = []
    for rule in rules:
        hits = counted.rules.get(rule.number)
        stage, result = stage_of(rule), result_of(rule)
        count = _of_span(hits, span) if hits and stage and result else 0
        if count:
            found.append(Stopping(rule, stage, result, count))
    return sorted(found, key=lambda each: -each.times)


def sums(found: Iterable[Stopping]) -> Counter[tuple[str, str]]:
    """By stage and result."""
    total: Counter[tuple[str, str]] = Counter()
    for each in found:
        total[each.stage, each.result] += each.times
    return total


def _of_span(hits: Hits, span: str) -> int:
    return {HOUR: hits.hours[-1], DAY: hits.day, MONTH: hits.total}[span]
