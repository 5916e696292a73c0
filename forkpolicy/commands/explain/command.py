"""`forkpolicy explain`: the action that a request gets, and why: rule by rule, whether each term is met and by what.

Reads requests as Postfix sends them or out of a log (a file, standard input, one line on the command line), or
attributes from the command line, and decides with the exact evaluation, which the compiled policy agrees with. Days and
times are those at which a request was logged, else the current ones. Opens tables itself; needs no running master.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING

from forkpolicy.commands.explain.text import as_text, in_order, met, not_given, printable, remembered
from forkpolicy.commands.explain.words import request_of
from forkpolicy.commands.shared.clock import Clock
from forkpolicy.commands.shared.parsers import add_json, add_settings
from forkpolicy.commands.shared.request_log import PastRequest, RequestLog
from forkpolicy.commands.shared.world import World, only_with_dns
from forkpolicy.errors import EXIT_DONE, UsageError
from forkpolicy.loading import load_everything
from forkpolicy.policy.evaluate import Answer
from forkpolicy.protocol.attributes import attribute, states_of
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import ProtocolError, Request

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping

    from forkpolicy.policy.answers import Mode
    from forkpolicy.policy.evaluate import Looked, Trace, Tried
    from forkpolicy.policy.matchers.matcher import Finding
    from forkpolicy.policy.model import Model
    from forkpolicy.policy.policy import Policy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    parser.add_argument(
        "what",
        nargs="*",
        metavar="FILE | NAME=VALUE | LINE",
        help="a file of requests as Postfix sends them, or of lines of a log (default: standard input); or attributes "
        "of one request; or one line of a log, in quotes: a decision of forkpolicy, or Postfix's NOQUEUE: reject",
    )
    parser.add_argument("--all", action="store_true", dest="show_all", help="continue after the rule that decides")
    parser.add_argument("--dns", action="store_true", help="ask the DNS: DNS lists and SPF")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Explain every request given and print to standard output."""
    loaded = load_everything(arguments.settings)
    requests = _requests(arguments.what, loaded.policy)
    world = World(loaded.settings.dns)
    try:
        for table in loaded.tables.values():
            table.refresh()
        if loaded.policy.remembers:
            # Where it cannot be opened, each ACL that asks it says why.
            loaded.store.open(read_only=True)
        mode = loaded.policy.peeking._replace(ask_world=world.ask if arguments.dns else only_with_dns)
        _explain(loaded.policy, requests, mode, as_json=arguments.as_json, show_all=arguments.show_all)
    finally:
        world.close()
        for table in loaded.tables.values():
            table.close()
        loaded.store.close()
    return EXIT_DONE


def _explain(
    policy: Policy, requests: Iterable[tuple[PastRequest, Request]], mode: Mode, *, as_json: bool, show_all: bool
) -> None:
    clock = Clock()
    clock.put_into(policy)
    for number, (past, request) in enumerate(requests):
        clock.turn_to(past)
        values = wanted_values(request, policy.wanted)
        trace = policy.trace(values, mode, all_rules=show_all)
        text, failure = policy.result(trace.outcome, values, trace.answers)
        trace.failure = trace.failure or failure
        if as_json:
            print(json.dumps(as_object(trace, text, request, policy.model)))
        else:
            print(("\n" if number else "") + as_text(trace, text, request, policy.model))


def as_object(trace: Trace, text: str, request: Request, model: Model) -> dict[str, object]:
    """An explanation for tools."""
    line = trace.outcome
    return {
        "action": printable(text),
        "rewritten": {name: printable(address) for name, address in trace.rewritten.items()},
        "verb": line.action.verb,
        "decided_by": {
            "path": line.place.path if line.place else None,
            "line": line.place.line if line.place else None,
            "text": line.text,
        },
        "failure": trace.failure,
        "score": trace.score,
        "noted": [each.where for each in trace.noted],
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
        "attributes": {name: printable(attributes.get(name, "")) for name in looked.acl.attributes},
        "found": _finding_object(looked.finding) if looked.finding else None,
        "reason": looked.reason,
        **_store_object(looked),
        **(_known_object(looked) if looked.answer is Answer.UNKNOWN and not looked.given else {}),
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
    found: dict[str, object] = {"value": printable(finding.text)}
    if finding.place:
        found |= {"path": finding.place.path, "line": finding.place.line}
    if finding.entry:
        entry = finding.entry
        found["table"] = finding.table
        found["entry"] = {"key": entry.key, "value": entry.value, "source": entry.source, "line": entry.line}
    return found


def _requests(what: list[str], policy: Policy) -> Iterator[tuple[PastRequest, Request]]:
    """The requests that the command line means."""
    if not what:
        return _from_file("-")
    is_file = len(what) == 1 and not _is_text(what[0])
    return _from_file(what[0]) if is_file else _from_words(what, policy)


def _is_text(word: str) -> bool:
    """Attributes or a line of a log, and not the name of a file."""
    return not {"=", "{"}.isdisjoint(word) or (" " in word and not os.path.lexists(word))


def _from_words(words: list[str], policy: Policy) -> Iterator[tuple[PastRequest, Request]]:
    past = request_of(words, policy.wanted)
    yield past, past.request()


def _from_file(file: str) -> Iterator[tuple[PastRequest, Request]]:
    request_log = RequestLog(file, in_part=True)
    number = 0
    for number, past in enumerate(request_log, 1):
        try:
            yield past, past.request()
        except ProtocolError as error:
            raise UsageError(f"{request_log.name}: request {number}: {error}") from error
    if not number:
        raise UsageError(request_log.why_nothing())
    for why, count in request_log.left_out.items():
        print(f"warning: {count} left out: {why}", file=sys.stderr)
