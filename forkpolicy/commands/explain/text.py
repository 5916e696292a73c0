"""How an explanation looks on a terminal: the action, then each rule that was tried with its terms.

One term a row: whether it is met (yes, no, cannot be known, failed), and why. `explain` and `make demo` show it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from forkpolicy.policy.evaluate import Answer
from forkpolicy.protocol.attributes import ATTRIBUTES, STATES, attribute, states_of
from forkpolicy.terminal.colour import Painter

if TYPE_CHECKING:
    from forkpolicy.policy.evaluate import Looked, Trace, Tried
    from forkpolicy.policy.matchers.matcher import Finding
    from forkpolicy.policy.model import Acl, Model
    from forkpolicy.protocol.request import Request

WOULD, WOULD_NOT = "would hold", "would not hold"
COLOUR_OF = {
    "yes": "green",
    "no": "dim",
    WOULD: "green",
    WOULD_NOT: "dim",
    Answer.UNKNOWN.value: "yellow",
    Answer.NOT_ASKED.value: "yellow",
    Answer.FAILED.value: "red",
}
# Longer policies show the rules that matter.
SHORT_POLICY = 20


def met(looked: Looked, negated: bool) -> str:
    """Whether a term is met: what its ACL says, reversed after a `!`. What the store would say is not sure yet: another
    request may come first.
    """
    if looked.answer not in (Answer.HOLDS, Answer.NOT):
        return str(looked.answer.value)
    is_met = (looked.answer is Answer.HOLDS) is not negated
    if looked.acl.remembering:
        return WOULD if is_met else WOULD_NOT
    return "yes" if is_met else "no"


def not_given(trace: Trace, request: Request, model: Model) -> list[str]:
    """Attributes that decide, or are part of the reply, and are not in the request: taken as empty."""
    asked = [name for tried in trace.tried for looked, _ in tried.looked for name in looked.acl.attributes]
    template = trace.outcome.action.template
    if template:
        asked += template.attributes
        asked += (name for acl in template.matches for name in model.acls[acl].attributes)
    return [name for name in dict.fromkeys(asked) if name in ATTRIBUTES and name not in request.attributes]


def in_order(states: frozenset[str]) -> list[str]:
    """Protocol states as a session has them."""
    return [state for state in STATES if state in states]


def as_text(trace: Trace, text: str, request: Request, model: Model) -> str:
    """The whole explanation."""
    paint = Painter(sys.stdout)
    lines = [paint.bold(f"action={printable(text)}")]
    if trace.failure:
        lines.append(paint.red(f"answered with on_error: {trace.failure}"))
    elif trace.outcome.place is None:
        lines.append(f"no rule fired: action {trace.outcome.action.name}")
    tried_rules = trace.tried
    shown = [
        each
        for each in tried_rules
        if each.fired or each.failed or len(each.looked) > 1 or len(tried_rules) < SHORT_POLICY
    ]
    for tried in shown:
        lines += _tried_text(tried, trace, request, paint)
    if len(shown) < len(tried_rules):
        lines.append(paint.dim(f"({len(tried_rules) - len(shown)} more rules whose first term is not met)"))
    if any(rule.action.kind == "score" for rule in model.rules):
        lines.append(f"score {trace.score:g}")
    missing = not_given(trace, request, model)
    if missing:
        lines.append(paint.colour("yellow", f"not given, taken as empty: {', '.join(missing)}"))
    return "\n".join(lines)


def _tried_text(tried: Tried, trace: Trace, request: Request, paint: Painter) -> list[str]:
    decided = tried.rule is trace.outcome or (tried.failed and trace.failure)
    mark = "  <- decided" if decided else "  (fired)" if tried.fired else ""
    title = f"{tried.rule.where}: {tried.rule.text}"
    terms = [(f"{'!' * negated}{looked.acl.name}", met(looked, negated), looked) for looked, negated in tried.looked]
    name_width, met_width = max(len(name) for name, _, _ in terms), max(len(is_met) for _, is_met, _ in terms)
    if tried.fired and tried.rule.action.deed:
        mark = "  (fires, not done)"
    rows = [(paint.bold(title) if decided else title) + paint.bold(mark)]
    for name, is_met, looked in terms:
        shown = paint.colour(COLOUR_OF[is_met], f"{is_met:<{met_width}}")
        rows.append(f"  {name:<{name_width}}  {shown}  {_why(looked, request, trace)}".rstrip())
    return rows


def _why(looked: Looked, request: Request, trace: Trace) -> str:
    if looked.answer is Answer.UNKNOWN:
        return looked.reason if looked.given else _why_unknown(looked, request)
    if looked.answer in (Answer.FAILED, Answer.NOT_ASKED):
        return "" if looked.reason == looked.answer.value else looked.reason
    if shown := remembered(looked):
        return f"{shown} (not counted)" if looked.acl.remembering else shown
    asked = " ".join(_asked(name, request, trace) for name in looked.acl.attributes)
    found = _found_text(looked.finding) if looked.finding else ""
    return ": ".join(filter(None, (asked, found))) or looked.reason or _why_not(looked.acl)


def _asked(name: str, request: Request, trace: Trace) -> str:
    """An attribute with its value, and how the policy sees an address that Postfix will rewrite."""
    came = f"{name}={printable(request.get(name))}"
    return f"{came} (rewritten: {printable(trace.rewritten[name])})" if name in trace.rewritten else came


def remembered(looked: Looked) -> str:
    """What the store would answer, or the world has, in words; empty where nobody was asked."""
    given, matcher = looked.given, looked.acl.asks
    if not given or not matcher or given.question is None or given.holds is None:
        return ""
    return printable(matcher.in_words(given.question, given.answer))


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
        return f"{entry.key}{value} in table {finding.table} ({entry.source}{line})"
    return f"{finding.text}" + (f" ({finding.place})" if finding.place else "")


def printable(text: str) -> str:
    """A text of a request for a terminal: unprintable characters are escaped."""
    return text if text.isprintable() else "".join(_printable_character(character) for character in text)


def _printable_character(character: str) -> str:
    code = ord(character)
    if character.isprintable():
        return character
    # A lone surrogate stands for a byte that is not UTF-8.
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
