"""What an explanation says of each term: whether it is met, and why, in the words that every reader gets.

Pure. Texts of a request are escaped (`escape_unprintable`); how it looks is the reader's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.evaluate import Answer
from forkpolicy.protocol.attributes import ATTRIBUTES, STATES, attribute, states_of

if TYPE_CHECKING:
    from forkpolicy.policy.evaluate import Looked, Trace, Tried
    from forkpolicy.policy.matchers.matcher import Finding
    from forkpolicy.policy.model import Acl, Model
    from forkpolicy.protocol.request import Request

WOULD, WOULD_NOT = "would hold", "would not hold"


def met(looked: Looked, negated: bool) -> str:
    """Whether a term is met: what its ACL says, reversed after a `!`. What the store would say is not sure yet: another
    request may come first. What it has said is.
    """
    if looked.answer not in (Answer.HOLDS, Answer.NOT):
        return str(looked.answer.value)
    is_met = (looked.answer is Answer.HOLDS) is not negated
    if any(each.acl.remembering and not _is_recorded(each) for each in looked.all_looked):
        return WOULD if is_met else WOULD_NOT
    return "yes" if is_met else "no"


def not_given(trace: Trace, request: Request, model: Model) -> list[str]:
    """Attributes that decide, or are part of the reply, and are not in the request: taken as empty."""
    looked = [each for tried in trace.tried for looked, _ in tried.looked for each in looked.all_looked]
    asked = [name for each in looked if not each.terms for name in each.acl.attributes]
    template = trace.outcome.action.template
    if template:
        asked += template.attributes
        asked += (name for acl in template.matches for name in model.acls[acl].attributes)
    return [name for name in dict.fromkeys(asked) if name in ATTRIBUTES and name not in request.attributes]


def unreadable(trace: Trace) -> list[str]:
    """The ACLs that the action depends on although nobody knows what they say: their store cannot be read. Their terms
    were taken as not met.
    """
    names: list[str] = []
    for tried in trace.tried:
        open_terms = [looked for looked, _ in tried.looked if looked.answer is Answer.NOT_ASKED]
        asked = [each for looked in open_terms for each in looked.all_looked if not each.terms]
        names += [each.acl.name for each in asked if each.acl.remembering and each.answer is Answer.NOT_ASKED]
        if decides(tried, trace):
            break
    return list(dict.fromkeys(names))


def in_order(states: frozenset[str]) -> list[str]:
    """Protocol states as a session has them."""
    return [state for state in STATES if state in states]


def decides(tried: Tried, trace: Trace) -> bool:
    """Whether it is the rule that decides, or fails."""
    return tried.rule is trace.outcome or bool(tried.failed and trace.failure)


def why(looked: Looked, request: Request, trace: Trace) -> str:
    """Why a term is met, or not; empty where nothing can be said."""
    if looked.terms:
        return looked.reason
    if _is_recorded(looked):
        return _recorded_text(looked)
    if looked.answer is Answer.UNKNOWN:
        return looked.reason if looked.given else _why_unknown(looked, request)
    if looked.answer in (Answer.FAILED, Answer.NOT_ASKED):
        return "" if looked.reason == looked.answer.value else looked.reason
    if shown := remembered(looked):
        return f"{shown} (not counted)" if looked.acl.remembering else shown
    asked = " ".join(_asked(name, request, trace) for name in looked.acl.attributes)
    found = _found_text(looked.finding) if looked.finding else ""
    return ": ".join(filter(None, (asked, found))) or looked.reason or _why_not(looked.acl)


def remembered(looked: Looked) -> str:
    """What the store would answer, or the world has, in words; empty where nobody was asked."""
    given, matcher = looked.given, looked.acl.asks
    if not given or not matcher or given.question is None or given.holds is None:
        return ""
    return escape_unprintable(matcher.in_words(given.question, given.answer))


def escape_unprintable(text: str) -> str:
    """A text of a request for a terminal: unprintable characters are escaped."""
    return text if text.isprintable() else "".join(_escaped(character) for character in text)


def _recorded_text(looked: Looked) -> str:
    """What an ACL was answered then, as far as the log has it."""
    value = looked.finding.value if looked.finding else ""
    return ": ".join(filter(None, ("as it was answered then", looked.reason, value)))


def _asked(name: str, request: Request, trace: Trace) -> str:
    """An attribute with its value, and how the policy sees an address that Postfix will rewrite."""
    came = f"{name}={escape_unprintable(request.get(name))}"
    return f"{came} (rewritten: {escape_unprintable(trace.rewritten[name])})" if name in trace.rewritten else came


def _why_unknown(looked: Looked, request: Request) -> str:
    name = looked.reason
    state = request.get("protocol_state") or "no state"
    if name == "protocol_state":
        return f"{looked.acl.type_name} is not known at {state}, but at {', '.join(in_order(looked.acl.known_states))}"
    if name not in ATTRIBUTES:
        return f"{name}: the request has no such attribute, and no version of Postfix sends it"
    always = attribute(name).empty_known_at or frozenset()
    maybe = states_of(name) - always
    known = [f"always at {', '.join(in_order(always))}"] if always else []
    known += [f"with a value at {', '.join(in_order(maybe))}"] if maybe else []
    since = f" (Postfix {attribute(name).since} and later)" if name not in request.attributes else ""
    return f"{name} is not known at {state}, but {'; '.join(known)}{since}"


def _why_not(acl: Acl) -> str:
    """What ACLs say that ask no attribute (the clock) and do not hold."""
    return next((why for matcher in acl.matchers if (why := matcher.why_not())), "")


def _found_text(finding: Finding) -> str:
    if finding.entry:
        entry = finding.entry
        value = f" {entry.value}" if entry.value else ""
        line = f":{entry.line}" if entry.line else ""
        wanted = f", wanted {finding.wanted}" if finding.wanted else ""
        return f"{entry.key}{value} in table {finding.table} ({entry.source}{line}){wanted}"
    return f"{finding.text}" + (f" ({finding.place})" if finding.place else "")


def _is_recorded(looked: Looked) -> bool:
    return bool(looked.given and looked.given.is_recorded)


def _escaped(character: str) -> str:
    code = ord(character)
    if character.isprintable():
        return character
    # A lone surrogate stands for a byte that is not UTF-8.
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
