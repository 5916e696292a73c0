"""`forkpolicy whatif [ID] [--except STATEMENTS]`: which past decisions an exception would have changed.

With an exception: those, the riskiest first. Without: several exceptions that would have let that decision's mail in,
each with its effect. Nothing is asked, nothing is changed. Exit status 1: nothing changes, or there is no such
decision. Raises UsageError, HistoryError, ConfigError.
"""

from __future__ import annotations

import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.shared.parsers import add_json, add_settings
from forkpolicy.commands.shared.past_decisions import add_most, check_most, id_in
from forkpolicy.commands.whatif.report import Report, print_proposals, print_what_if
from forkpolicy.errors import EXIT_DONE, EXIT_NO, UsageError
from forkpolicy.history.opening import open_history
from forkpolicy.history.past_request import read_past
from forkpolicy.history.query import moment_ms, query_of
from forkpolicy.history.whatif.judging import replies_to, what_if
from forkpolicy.history.whatif.policies import EXCEPTION, lines_of, load_now, load_tried
from forkpolicy.history.whatif.proposals import free_name, proposals_of
from forkpolicy.history.whatif.risks import in_order
from forkpolicy.terminal.progress import Progress

if TYPE_CHECKING:
    import argparse

    from forkpolicy.history.place import Reader
    from forkpolicy.history.search import Found
    from forkpolicy.history.whatif.policies import Tried
    from forkpolicy.loading import Loaded

_MOST: Final = 5
_UNTIL_DAYS: Final = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    parser.add_argument(
        "id", metavar="ID", nargs="?", help="a past decision, as `history find` prints it; not needed with an exception"
    )
    tried = parser.add_mutually_exclusive_group()
    tried.add_argument(
        "--except",
        dest="statements",
        metavar="STATEMENTS",
        help='statements in front of the first access statement, divided by " / "; without them several exceptions '
        "for ID are proposed",
    )
    tried.add_argument(
        "--except-file", dest="file", metavar="FILE", help="the same, from a file with one statement a line"
    )
    parser.add_argument(
        "--since", metavar="TIME", default="", help="how far back: 7d, 2026-11-28, 2026-11-28T09:30 (default: all)"
    )
    parser.add_argument(
        "--until", metavar="DAY", default="", help="the last day of proposed exceptions that end (default: in 30 days)"
    )
    add_most(parser, _MOST, "show N decisions of each change")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    now_s = time.time()
    since_ms = _checked(arguments, now_s)
    now = load_now(arguments.settings)
    try:
        for table in now.tables.values():
            if table.table is None:
                print(f'warning: table "{table.name}" cannot be used: {table.refused}', file=sys.stderr)
        history = open_history(now.settings.history)
        own = next(history.find(query_of([f"id:{arguments.id}"], now_s), 1), None) if arguments.id else None
        if arguments.id and own is None:
            print(f"there is no decision {arguments.id} in the history", file=sys.stderr)
            return EXIT_NO
        if own and not (arguments.statements or arguments.file):
            return _propose(arguments, history, now, own, since_ms)
        return _try(arguments, history, now, own, since_ms)
    finally:
        for table in now.tables.values():
            table.close()


def _checked(arguments: argparse.Namespace, now_s: float) -> int:
    """Since when, in milliseconds; the id becomes as the history has it. Raises UsageError."""
    if arguments.id:
        arguments.id = id_in(arguments.id)
    if not (arguments.id or arguments.statements or arguments.file):
        raise UsageError("expected the id of a decision, or an exception: --except STATEMENTS, --except-file FILE")
    check_most(arguments.most)
    try:
        if arguments.until:
            date.fromisoformat(arguments.until)
    except ValueError:
        raise UsageError(f"--until {arguments.until}: expected a day, as in 2026-12-31") from None
    try:
        return moment_ms(arguments.since, now_s) if arguments.since else 0
    except ValueError as error:
        raise UsageError(f"--since: {error}") from error


def _try(arguments: argparse.Namespace, history: Reader, now: Loaded, own: Found | None, since_ms: int) -> int:
    if arguments.file:
        try:
            text = Path(arguments.file).read_text("utf-8")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"{arguments.file} cannot be read: {why}") from error
        tried = load_tried(now, text, arguments.file)
    else:
        text = lines_of(arguments.statements)
        tried = load_tried(now, text, EXCEPTION)
    for warning in tried.warnings:
        print(warning, file=sys.stderr)
    report = _replayed(history, now, tried, since_ms, arguments.most)
    replies = replies_to(now, tried, own, history.raw(own)) if own else None
    print_what_if(text, report, own, replies, as_json=arguments.as_json)
    return EXIT_DONE if report.changed else EXIT_NO


def _propose(arguments: argparse.Namespace, history: Reader, now: Loaded, own: Found, since_ms: int) -> int:
    past = read_past(history.raw(own))
    until = arguments.until or str(date.today() + timedelta(days=_UNTIL_DAYS))
    proposed = []
    for proposal in proposals_of(now.policy, past.attributes, free_name(now.policy, own.id), until):
        tried = load_tried(now, proposal.text)
        proposed.append((proposal, _replayed(history, now, tried, since_ms, arguments.most)))
    print_proposals(own, proposed, as_json=arguments.as_json)
    return EXIT_DONE if any(report.changed for _, report in proposed) else EXIT_NO


def _replayed(history: Reader, now: Loaded, tried: Tried, since_ms: int, most: int) -> Report:
    with Progress(sys.stderr) as progress:
        progress.begin(0, "past requests")
        found = what_if(history, now, tried, since_ms, on_read=lambda count: progress.at(count, count))
    return Report(found, in_order(history, found.changed, most))
