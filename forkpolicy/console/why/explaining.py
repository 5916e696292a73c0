"""A decision explained for those who may see the server: with the policy of then, and with the current one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.why.past import CurrentPolicy, PastPolicies
from forkpolicy.console.why.view import explanation
from forkpolicy.documents import plain
from forkpolicy.history.deciding import decided_now, decided_then
from forkpolicy.history.opening import open_versions
from forkpolicy.history.recorded import answer_in_words, term_in_words
from forkpolicy.history.versions import policy_part

if TYPE_CHECKING:
    from forkpolicy.console.visit import Visit
    from forkpolicy.history.deciding import Again, Now, PastDecision
    from forkpolicy.history.versions import VersionDirectory

_AROUND_LINES: Final = 4
# Of this process: a policy that is open is of use to every session.
_PAST: Final = PastPolicies()
_CURRENT: Final = CurrentPolicy()


def explained(visit: Visit, decision: PastDecision) -> dict[str, object]:
    """Then, now, and how they differ. What cannot be read is a notice."""
    versions = open_versions(visit.parts.settings.history)
    then, why_not = decided_then(decision, lambda in_force, host: _PAST.of(versions, in_force, host))
    drafts = visit.parts.change.drafts
    now = visit.known("the current policy", lambda: decided_now(decision, lambda: _CURRENT.of(drafts.now), then))
    return {
        "rule": str(decision.line["line"]),
        "acls": str(decision.line.get("acls", "")),
        "then": explanation(then, decision.request) if then else None,
        "why_not_then": why_not,
        "recorded": _recorded(decision),
        "policy_text": _policy_text(versions, decision, then) if then else [],
        "now": None if now is None else _now(decision, now),
    }


def _now(decision: PastDecision, now: Now) -> dict[str, object]:
    is_same = now.action == decision.line["action"]
    return {
        "action": now.action,
        "is_same": is_same,
        "but": now.but,
        "differences": [plain(each) for each in now.differences],
        "explained": explanation(now.again, decision.request) if now.again and not is_same else None,
    }


def _recorded(decision: PastDecision) -> dict[str, object]:
    """What the log has next to the request: the terms of the rule, and what ACLs answered."""
    terms, answers = decision.line.get("terms"), decision.line.get("answers")
    return {
        "terms": [term_in_words(each) for each in terms if isinstance(each, dict)] if isinstance(terms, list) else [],
        "answers": {name: answer_in_words(each) for name, each in answers.items()} if isinstance(answers, dict) else {},
    }


def _policy_text(versions: VersionDirectory, decision: PastDecision, then: Again) -> list[dict[str, object]]:
    """The lines around the rule, as they stood."""
    place, version = then.trace.outcome.place, versions.version(str(decision.line["in_force"]))
    if place is None or version is None:
        return []
    files = versions.policy(policy_part(version.policy, version.settings)).files
    lines = files.get(place.path, "").splitlines()
    first = max(place.line - _AROUND_LINES, 1)
    return [
        {"number": number, "text": text, "is_rule": number == place.line}
        for number, text in enumerate(lines[first - 1 : place.line + _AROUND_LINES], first)
    ]
