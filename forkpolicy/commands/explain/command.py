"""`forkpolicy explain`: the action that a request gets, and why: rule by rule, whether each term is met and by what.

Reads requests as Postfix sends them or out of a log (a file, standard input, one line on the command line), or
attributes from the command line, and decides with the exact evaluation, which the compiled policy agrees with. Days and
times are those at which a request was logged, else the current ones. Opens tables itself; needs no running master.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from forkpolicy.commands.shared.explanation import as_text
from forkpolicy.commands.shared.parsers import add_json, add_settings
from forkpolicy.commands.shared.request_log import RequestLog
from forkpolicy.errors import EXIT_DONE, UsageError
from forkpolicy.explaining.explained import explained
from forkpolicy.explaining.words import request_of
from forkpolicy.history.clock import Clock
from forkpolicy.loading import load_everything
from forkpolicy.protocol.request import ProtocolError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from forkpolicy.history.logged_request import PastRequest
    from forkpolicy.policy.answers import Ask, Mode
    from forkpolicy.policy.evaluate import Trace
    from forkpolicy.policy.model import Model
    from forkpolicy.policy.policy import Policy
    from forkpolicy.protocol.request import Request
    from forkpolicy.settings import Settings


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
    with contextlib.ExitStack() as opened:
        opened.callback(loaded.store.close)
        for table in loaded.tables.values():
            opened.callback(table.close)
            table.refresh()
        if loaded.policy.remembers:
            # Where it cannot be opened, each ACL that asks it says why.
            loaded.store.open(read_only=True)
        mode = loaded.policy.peeking
        if loaded.policy.asks_world:
            mode = mode._replace(ask_world=_ask_world(loaded.settings, opened, dns=arguments.dns))
        _explain(loaded.policy, requests, mode, as_json=arguments.as_json, show_all=arguments.show_all)
    return EXIT_DONE


def _ask_world(settings: Settings, opened: contextlib.ExitStack, *, dns: bool) -> Ask:
    """Who answers for the DNS and for services: the DNS, or nobody."""
    from forkpolicy.commands.shared.world import World, only_with_dns  # noqa: PLC0415 - most policies ask nobody

    if not dns:
        return only_with_dns
    world = World(settings.dns)
    opened.callback(world.close)
    return world.ask


def _explain(
    policy: Policy, requests: Iterable[tuple[PastRequest, Request]], mode: Mode, *, as_json: bool, show_all: bool
) -> None:
    clock = Clock()
    clock.put_into(policy)
    for number, (past, request) in enumerate(requests):
        clock.turn_to(past.time_s())
        trace, text = explained(policy, request, mode, all_rules=show_all)
        if as_json:
            print(_as_json(trace, text, request, policy.model))
        else:
            print(("\n" if number else "") + as_text(trace, text, request, policy.model))


def _as_json(trace: Trace, text: str, request: Request, model: Model) -> str:
    import json  # noqa: PLC0415 - most explanations are for people

    from forkpolicy.explaining.as_object import as_object  # noqa: PLC0415

    return json.dumps(as_object(trace, text, request, model))


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
