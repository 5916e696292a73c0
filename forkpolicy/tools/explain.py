"""`forkpolicy explain`: the action that a request gets, and why: line by line, what each ACL said and what made it
hold.

Reads requests as Postfix sends them or out of a decision log (a file, standard input), or attributes from the command
line, and decides with the exact evaluation, which the compiled policy agrees with. Days and times are those at which a
request was logged, else those of now. Opens tables itself; needs no running master.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from forkpolicy.errors import EXIT_DONE, UsageError, nearest
from forkpolicy.loading import load_everything
from forkpolicy.policy.evaluate import Answer
from forkpolicy.policy.matchers.clock import ClockPart
from forkpolicy.protocol.attributes import ATTRIBUTES, STATES, attribute, states_of
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import REQUEST_NAME, ProtocolError, Request
from forkpolicy.tools.clock import Clock
from forkpolicy.tools.colour import Painter
from forkpolicy.tools.recorded import Recorded, Recording

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from forkpolicy.policy.evaluate import Looked, Trace, Tried
    from forkpolicy.policy.matchers.parts import Finding
    from forkpolicy.policy.model import Acl
    from forkpolicy.policy.policy import Policy

STATES_SHOWN = {Answer.HOLDS: "green", Answer.NOT: "dim", Answer.UNKNOWN: "yellow", Answer.FAILED: "red"}


def run(settings_path: str, file: str | None, attributes: list[str], *, as_json: bool, show_all: bool) -> int:
    """Explain every request given and print to standard output."""
    loaded = load_everything(settings_path)
    requests = [(Recorded(), _from_words(attributes))] if attributes else _from_file(file or "-")
    try:
        for slot in loaded.slots.values():
            slot.refresh()
        _explain(loaded.policy, requests, as_json=as_json, show_all=show_all)
    finally:
        for slot in loaded.slots.values():
            slot.close()
    return EXIT_DONE


def _explain(policy: Policy, requests: Iterable[tuple[Recorded, Request]], *, as_json: bool, show_all: bool) -> None:
    clock = Clock()
    clock.put_into(policy)
    for number, (recorded, request) in enumerate(requests):
        clock.turn_to(recorded)
        values = wanted_values(request, policy.wanted)
        trace = policy.trace(values, all_lines=show_all)
        text, failure = policy.result(trace.outcome, values)
        trace.failure = trace.failure or failure
        if as_json:
            print(json.dumps(as_object(trace, text, request)))
        else:
            print(("\n" if number else "") + _as_text(trace, text, request, policy))


def as_object(trace: Trace, text: str, request: Request) -> dict[str, object]:
    """An explanation for tools."""
    line = trace.outcome
    return {
        "action": _printable(text),
        "rewritten": {name: _printable(address) for name, address in trace.rewritten.items()},
        "verb": line.action.verb,
        "decided_by": {
            "path": line.place.path if line.place else None,
            "line": line.place.line if line.place else None,
            "text": line.text,
        },
        "failure": trace.failure,
        "score": trace.score,
        "noted": [each.where for each in trace.noted],
        "lines": [_tried_object(each, request.attributes) for each in trace.tried],
    }


def _tried_object(tried: Tried, attributes: Mapping[str, str]) -> dict[str, object]:
    place = tried.line.place
    assert place is not None
    return {
        "path": place.path,
        "line": place.line,
        "text": tried.line.text,
        "fired": tried.fired,
        "failed": tried.failed,
        "acls": [_looked_object(looked, negated, attributes) for looked, negated in tried.looked],
    }


def _looked_object(looked: Looked, negated: bool, attributes: Mapping[str, str]) -> dict[str, object]:
    return {
        "name": looked.acl.name,
        "negated": negated,
        "answer": looked.answer.value,
        "attributes": {name: _printable(attributes.get(name, "")) for name in looked.acl.attributes},
        "found": _finding_object(looked.finding) if looked.finding else None,
        "reason": looked.reason,
        **(_known_object(looked.reason) if looked.answer is Answer.UNKNOWN else {}),
    }


def _known_object(name: str) -> dict[str, object]:
    """When an attribute can be known: at states always, at states if Postfix has a value, since which Postfix."""
    always = attribute(name).empty_known_at or frozenset()
    return {
        "known_at": _in_order(always),
        "known_with_a_value_at": _in_order(states_of(name) - always),
        "postfix_since": attribute(name).since or None,
    }


def _in_order(states: frozenset[str]) -> list[str]:
    return [state for state in STATES if state in states]


def _finding_object(finding: Finding) -> dict[str, object]:
    found: dict[str, object] = {"value": _printable(finding.text)}
    if finding.place:
        found |= {"path": finding.place.path, "line": finding.place.line}
    if finding.entry:
        entry = finding.entry
        found["table"] = finding.table
        found["entry"] = {"key": entry.key, "value": entry.value, "source": entry.source, "line": entry.line}
    return found


def _as_text(trace: Trace, text: str, request: Request, policy: Policy) -> str:
    paint = Painter(sys.stdout)
    lines = [paint.bold(f"action={_printable(text)}")]
    if trace.failure:
        lines.append(paint.red(f"answered with on_error: {trace.failure}"))
    elif trace.outcome.place is None:
        lines.append(f"no access line fired: the action {trace.outcome.action.name}")
    shown = [each for each in trace.tried if each.fired or each.failed or len(each.looked) > 1 or len(trace.tried) < 20]
    for tried in shown:
        lines += _tried_text(tried, trace, request, paint)
    if len(shown) < len(trace.tried):
        lines.append(paint.dim(f"({len(trace.tried) - len(shown)} lines more whose first ACL kept them from firing)"))
    if any(line.action.kind == "score" for line in policy.model.lines):
        lines.append(f"score {trace.score:g}")
    return "\n".join(lines)


def _tried_text(tried: Tried, trace: Trace, request: Request, paint: Painter) -> list[str]:
    decided = tried.line is trace.outcome or (tried.failed and trace.failure)
    mark = "  <- decided" if decided else "  (fired)" if tried.fired else ""
    title = f"{tried.line.where}: {tried.line.text}"
    return [(paint.bold(title) if decided else title) + paint.bold(mark)] + [
        _looked_text(looked, negated, request, trace, paint) for looked, negated in tried.looked
    ]


def _looked_text(looked: Looked, negated: bool, request: Request, trace: Trace, paint: Painter) -> str:
    name = f"{'!' if negated else ' '}{looked.acl.name}"
    answer = paint.colour(STATES_SHOWN[looked.answer], f"{looked.answer.value:<16}")
    return f"   {name:<24} {answer} {_why(looked, request, trace)}".rstrip()


def _why(looked: Looked, request: Request, trace: Trace) -> str:
    if looked.answer is Answer.UNKNOWN:
        return _why_unknown(looked.reason, request)
    if looked.answer is Answer.FAILED:
        return looked.reason
    asked = " ".join(_asked(name, request, trace) for name in looked.acl.attributes)
    return f"{asked}{_found_text(looked.finding)}" if looked.finding else asked or _time_text(looked.acl)


def _asked(name: str, request: Request, trace: Trace) -> str:
    """An attribute with its value, and how the policy sees an address that Postfix will rewrite."""
    came = f"{name}={_printable(request.get(name))}"
    return f"{came} (rewritten: {_printable(trace.rewritten[name])})" if name in trace.rewritten else came


def _why_unknown(name: str, request: Request) -> str:
    if name not in ATTRIBUTES:
        return f"{name}: the request has no such attribute, and no Postfix known to forkpolicy sends one"
    always = attribute(name).empty_known_at or frozenset()
    maybe = states_of(name) - always
    known = [f"at {', '.join(_in_order(always))}"] if always else []
    known += [f"at {', '.join(_in_order(maybe))} if Postfix has a value"] if maybe else []
    since = f" (Postfix {attribute(name).since} and later)" if name not in request.attributes else ""
    return f"{name} at {request.get('protocol_state') or 'no state'}: it can be {', '.join(known)}{since}"


def _time_text(acl: Acl) -> str:
    """What time it is, for days and times that do not hold."""
    clocks = [part for part in acl.parts if isinstance(part, ClockPart)]
    return f"it is {clocks[0].now():%A %H:%M %Z}" if clocks else ""


def _found_text(finding: Finding) -> str:
    if finding.entry:
        entry = finding.entry
        value = f" {entry.value}" if entry.value else ""
        line = f":{entry.line}" if entry.line else ""
        return f": {entry.key}{value} in table {finding.table} ({entry.source}{line})"
    return f": {finding.text}" + (f" ({finding.place})" if finding.place else "")


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(_printable_character(character) for character in text)


def _printable_character(character: str) -> str:
    code = ord(character)
    if character.isprintable():
        return character
    # A lone surrogate stands for a byte that is no UTF-8.
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _from_words(words: list[str]) -> Request:
    attributes = {"request": REQUEST_NAME, "protocol_state": "RCPT", "protocol_name": "ESMTP"}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(
                f'"{word}": expected attributes as in sender=user@example.com, or the name of a file alone'
            )
        if name not in ATTRIBUTES and (near := nearest(name, ATTRIBUTES)):
            print(f'warning: no Postfix sends "{name}": did you mean "{near}"?', file=sys.stderr)
        attributes[name] = value
    return Request(attributes, None)


def _from_file(file: str) -> Iterator[tuple[Recorded, Request]]:
    recording = Recording(file)
    number = 0
    for number, recorded in enumerate(recording, 1):
        try:
            yield recorded, recorded.request()
        except ProtocolError as error:
            raise UsageError(f"{recording.name}: request {number}: {error}") from error
    if not number:
        raise UsageError(recording.why_nothing())
    for why, count in recording.left_out.items():
        print(f"warning: {count} left out: {why}", file=sys.stderr)
