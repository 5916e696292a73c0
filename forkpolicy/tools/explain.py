"""`forkpolicy explain`: the action that a request gets, and why: line by line, what each ACL said and what made it
hold.

Reads requests as Postfix sends them (a file, standard input) or attributes from the command line, and decides with
the exact evaluation, which the compiled policy agrees with. Opens tables itself; needs no running master.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.errors import EXIT_DONE, ForkpolicyError, UsageError, nearest
from forkpolicy.loading import load_everything
from forkpolicy.policy.evaluate import Answer
from forkpolicy.protocol.attributes import ATTRIBUTES, attribute
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.reader import RequestReader
from forkpolicy.protocol.request import REQUEST_NAME, ProtocolError, Request
from forkpolicy.tools.colour import Painter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.policy.evaluate import Looked, Trace, Tried
    from forkpolicy.policy.matchers.parts import Finding
    from forkpolicy.policy.policy import Policy

# A file of requests is the operator's own: only a runaway one is refused.
MAX_REQUEST_BYTES = 16 << 20
STATES_SHOWN = {Answer.HOLDS: "green", Answer.NOT: "dim", Answer.UNKNOWN: "yellow", Answer.FAILED: "red"}


def run(settings_path: str, file: str | None, attributes: list[str], *, as_json: bool, show_all: bool) -> int:
    """Explain every request given and print to standard output."""
    loaded = load_everything(settings_path)
    for slot in loaded.slots.values():
        slot.refresh()
    requests = [_from_words(attributes)] if attributes else _from_file(file)
    for number, request in enumerate(requests):
        values = wanted_values(request, loaded.policy.wanted)
        trace = loaded.policy.trace(values, all_lines=show_all)
        text = loaded.policy.text(trace.outcome, values)
        if as_json:
            print(json.dumps(as_object(trace, text, request)))
        else:
            print(("\n" if number else "") + _as_text(trace, text, request, loaded.policy))
    return EXIT_DONE


def as_object(trace: Trace, text: str, request: Request) -> dict[str, object]:
    """An explanation for tools."""
    line = trace.outcome
    return {
        "action": _printable(text),
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
    }


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
        _looked_text(looked, negated, request, paint) for looked, negated in tried.looked
    ]


def _looked_text(looked: Looked, negated: bool, request: Request, paint: Painter) -> str:
    name = f"{'!' if negated else ' '}{looked.acl.name}"
    answer = paint.colour(STATES_SHOWN[looked.answer], f"{looked.answer.value:<16}")
    return f"   {name:<24} {answer} {_why(looked, request)}".rstrip()


def _why(looked: Looked, request: Request) -> str:
    if looked.answer is Answer.UNKNOWN:
        state = request.get("protocol_state") or "no state"
        return f"{looked.reason} at {state}: it can from {attribute(looked.reason).known_since()}"
    if looked.answer is Answer.FAILED:
        return looked.reason
    asked = " ".join(f"{name}={_printable(request.get(name))}" for name in looked.acl.attributes)
    return f"{asked}{_found_text(looked.finding)}"


def _found_text(finding: Finding | None) -> str:
    if finding is None:
        return ""
    if finding.entry:
        entry = finding.entry
        value = f" {entry.value}" if entry.value else ""
        line = f":{entry.line}" if entry.line else ""
        return f": {entry.key}{value} in table {finding.table} ({entry.source}{line})"
    return f": {finding.text}" + (f" ({finding.place})" if finding.place else "")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\x{ord(char) & 0xFF:02x}" for char in text)


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


def _from_file(file: str | None) -> Iterator[Request]:
    try:
        raw = sys.stdin.buffer.read() if file in (None, "-") else Path(str(file)).read_bytes()
    except OSError as error:
        raise ForkpolicyError(f"{file} cannot be read: {error.strerror}") from error
    reader = RequestReader(MAX_REQUEST_BYTES)
    # A request typed or cut by hand may lack its closing empty line.
    reader.feed(raw.strip(b"\r\n") + b"\n\n")
    number = 0
    try:
        while (request := reader.next_request()) is not None:
            if request.strip():
                number += 1
                yield Request.parse(request)
    except ProtocolError as error:
        raise ForkpolicyError(f"{file or 'standard input'}: request {number}: {error}") from error
    if not number:
        raise ForkpolicyError(f"{file or 'standard input'} has no request: lines name=value up to an empty line")
