"""A rule that was tried, as the page shows it: its words in order, each with what it said, and why. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.explaining.facts import WOULD, WOULD_NOT, decides, escape_unprintable, met, why
from forkpolicy.policy.evaluate import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.history.deciding import Again
    from forkpolicy.policy.evaluate import Looked, Trace, Tried
    from forkpolicy.policy.matchers.matcher import Finding
    from forkpolicy.protocol.request import Request

_SIGN_OF: Final = {"yes": "met", WOULD: "met", "no": "not_met", WOULD_NOT: "not_met"}


def explanation(again: Again, request: Request) -> dict[str, object]:
    """What a policy did with a request: the rule that decided, and those that were tried before it."""
    trace = again.trace
    rules = [_rule(each, request, trace) for each in trace.tried]
    decided = next((each for each in rules if each["is_decided"]), None)
    return {
        "action": again.action,
        "where": trace.outcome.where,
        "failure": trace.failure,
        "rule": decided,
        "before": [each for each in rules if each is not decided],
        "rewritten": {name: escape_unprintable(each) for name, each in trace.rewritten.items()},
    }


def _rule(tried: Tried, request: Request, trace: Trace) -> dict[str, object]:
    rule = tried.rule
    terms = [*_terms(tried.looked, request, trace)]
    signs = [each["answer"] for each in terms if not each["depth"]]
    words = [f"{'!' if negated else ''}{acl.name}" for acl, negated in rule.terms]
    # What stands behind a term that is not met was not asked.
    signs += [""] * (len(words) - len(signs))
    return {
        "where": rule.where,
        "text": rule.text,
        "parts": [
            {"text": "access", "answer": ""},
            *({"text": word, "answer": sign} for word, sign in zip(words, signs, strict=False)),
            {"text": rule.action.name, "answer": ""},
        ],
        "is_decided": decides(tried, trace),
        "fired": tried.fired,
        "failed": tried.failed,
        "terms": terms,
    }


def _terms(
    looked: Sequence[tuple[Looked, bool]], request: Request, trace: Trace, depth: int = 0
) -> Iterator[dict[str, object]]:
    """Each term, and below it those that it has asked itself."""
    for each, negated in looked:
        says = met(each, negated)
        yield {
            "text": f"{'!' if negated else ''}{each.acl.name}",
            "answer": _SIGN_OF.get(says, "unknown"),
            "says": _SAYS.get(says, says),
            "why": why(each, request, trace),
            "type": each.acl.type_name,
            "entry": _entry(each.finding) if each.finding else None,
            "depth": depth,
        }
        yield from _terms(each.terms, request, trace, depth + 1)


_SAYS: Final = {
    "yes": "met",
    "no": "not met",
    WOULD: "would be met",
    WOULD_NOT: "would not be met",
    Answer.FAILED.value: "failed",
}


def _entry(finding: Finding) -> dict[str, object] | None:
    """The entry of a table, or the value of the policy, that was found."""
    if finding.entry:
        entry = finding.entry
        source = f"{entry.source}:{entry.line}" if entry.line else entry.source
        return {"key": entry.key, "value": entry.value, "table": finding.table, "source": source}
    if finding.place:
        return {"key": escape_unprintable(finding.text), "value": None, "table": "", "source": str(finding.place)}
    return None
