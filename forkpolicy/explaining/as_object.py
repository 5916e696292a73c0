"""An explanation for tools: what `explain --json` prints, and `history show --json` of the past."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING

from forkpolicy.explaining.facts import escape_unprintable, in_order, met, not_given, remembered, unreadable
from forkpolicy.policy.evaluate import Answer
from forkpolicy.protocol.attributes import attribute, states_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.policy.evaluate import Looked, Trace, Tried
    from forkpolicy.policy.matchers.matcher import Finding
    from forkpolicy.policy.model import Model
    from forkpolicy.protocol.request import Request


def as_object(trace: Trace, text: str, request: Request, model: Model) -> dict[str, object]:
    """An explanation for tools."""
    line = trace.outcome
    return {
        "action": escape_unprintable(text),
        "rewritten": {name: escape_unprintable(address) for name, address in trace.rewritten.items()},
        "verb": line.action.verb,
        "decided_by": {
            "path": line.place.path if line.place else None,
            "line": line.place.line if line.place else None,
            "text": line.text,
        },
        "failure": trace.failure,
        "score": trace.score,
        "noted": [each.where for each in trace.noted],
        "cannot_be_read": unreadable(trace),
        "not_given": not_given(trace, request, model),
        "lines": [_tried_object(each, request.attributes) for each in trace.tried],
    }


def _tried_object(tried: Tried, attributes: Mapping[str, str]) -> dict[str, object]:
    place = tried.rule.place
    assert place is not None
    return {
        "path": place.path,
        "line": place.line,
        "text": tried.rule.text,
        "fired": tried.fired,
        "failed": tried.failed,
        "acls": [_looked_object(looked, negated, attributes) for looked, negated in tried.looked],
    }


def _looked_object(looked: Looked, negated: bool, attributes: Mapping[str, str]) -> dict[str, object]:
    return {
        "name": looked.acl.name,
        "negated": negated,
        "met": met(looked, negated),
        "answer": looked.answer.value,
        "attributes": {name: escape_unprintable(attributes.get(name, "")) for name in looked.acl.attributes},
        "found": _finding_object(looked.finding) if looked.finding else None,
        "reason": looked.reason,
        **({"terms": [_looked_object(*each, attributes) for each in looked.terms]} if looked.terms else {}),
        **_store_object(looked),
        **(_known_object(looked) if looked.answer is Answer.UNKNOWN and not (looked.given or looked.terms) else {}),
    }


def _store_object(looked: Looked) -> dict[str, object]:
    """What the store would answer about an ACL that remembers, as words and as its fields, and what others have
    answered, in words. Nothing was counted.
    """
    given, matcher = looked.given, looked.acl.asks
    if not given or not matcher or not given.question:
        return {}
    if not looked.acl.remembering:
        return {"asked": {"shown": remembered(looked)}}
    return {"store": {"shown": remembered(looked), "answer": _fields(given.answer), "counted": False}}


def _fields(answer: object) -> object:
    """The fields of an answer, whichever way it has them."""
    if is_dataclass(answer) and not isinstance(answer, type):
        return asdict(answer)
    return answer._asdict() if isinstance(answer, tuple) and hasattr(answer, "_asdict") else None


def _known_object(looked: Looked) -> dict[str, object]:
    """When it can be known: at states always, at states if Postfix has a value, since which Postfix."""
    name = looked.reason
    if name == "protocol_state":
        return {"known_at": in_order(looked.acl.known_states), "known_with_a_value_at": [], "postfix_since": None}
    always = attribute(name).empty_known_at or frozenset()
    return {
        "known_at": in_order(always),
        "known_with_a_value_at": in_order(states_of(name) - always),
        "postfix_since": attribute(name).since or None,
    }


def _finding_object(finding: Finding) -> dict[str, object]:
    found: dict[str, object] = {"value": escape_unprintable(finding.text)}
    if finding.place:
        found |= {"path": finding.place.path, "line": finding.place.line}
    if finding.entry:
        entry = finding.entry
        found["table"] = finding.table
        found |= {"wanted": finding.wanted} if finding.wanted else {}
        found["entry"] = {"key": entry.key, "value": entry.value, "source": entry.source, "line": entry.line}
    return found
