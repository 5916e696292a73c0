"""`forkpolicy replay FILE`: what the policy would reply to past requests, and with `--against OTHER.toml`
exactly those to which another one would reply differently, by the pair of rules responsible.

Days and times of a policy are those at which a request was logged; for raw requests, which have no time, the current
ones. What it remembers begins empty and is of this replay alone: limits and greylisting can be tried on a past month.
With `--recorded` ACLs that remember or ask answer what the log has of them, as in what-if.
`replaying` asks the policies, `report` prints.

Raises UsageError for a file that has no requests, ConfigError for settings or policies that fail to load.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from forkpolicy.commands.replay.replaying import Judge, Replay
from forkpolicy.commands.replay.report import Report
from forkpolicy.commands.shared.parsers import add_json, add_settings
from forkpolicy.commands.shared.request_log import NOT_A_REQUEST, RequestLog
from forkpolicy.errors import EXIT_DONE, EXIT_NO, UsageError
from forkpolicy.history.clock import Clock
from forkpolicy.history.recorded import RecordedAnswers
from forkpolicy.loading import load_everything
from forkpolicy.protocol.request import ProtocolError
from forkpolicy.state.memory import MemoryStore
from forkpolicy.terminal.progress import Progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from forkpolicy.tables.live_table import LiveTable

# Requests between two updates of the progress bar.
UPDATE_EVERY = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    parser.add_argument(
        "file", metavar="FILE", help='raw requests, or a decision log in JSON with decisions = "all"; -: standard input'
    )
    parser.add_argument(
        "--against", metavar="OTHER.toml", help="list the requests to which this policy replies differently"
    )
    parser.add_argument(
        "--recorded",
        action="store_true",
        help="ACLs that remember or ask answer what they answered then, as the log of [history] has it",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Replay and print to standard output. Exit status 1: with `--against`, verdicts change."""
    clock = Clock()
    answers = RecordedAnswers() if arguments.recorded else None
    judge = _load(arguments.settings, clock, {}, answers)
    other = _load(arguments.against, clock, judge.tables, answers) if arguments.against else None
    replay = Replay(judge, other, clock, answers)
    began_s = time.monotonic()
    request_log = RequestLog(arguments.file)
    try:
        _open_tables(replay)
        _read(request_log, replay)
    finally:
        for table in replay.tables:
            table.close()
    report = Report(replay, request_log, time.monotonic() - began_s)
    print(report.as_json() if arguments.as_json else report.as_text())
    return EXIT_NO if replay.changed else EXIT_DONE


def _load(settings_path: str, clock: Clock, tables: Mapping[str, LiveTable], answers: RecordedAnswers | None) -> Judge:
    loaded = load_everything(settings_path, tables=tables)
    clock.put_into(loaded.policy)
    if answers:
        loaded.policy.answer_with(answers.mode)
    elif loaded.policy.remembers:
        # What the real store has must stay as it is, and is of another time.
        clock.asked_for = True
        loaded.policy.remember_in(MemoryStore(clock))
    return Judge(settings_path, loaded.policy, loaded.tables)


def _open_tables(replay: Replay) -> None:
    for table in replay.tables:
        table.refresh()
        if table.table is None:
            print(f'warning: table "{table.name}" cannot be used: {table.refused}', file=sys.stderr)


def _read(request_log: RequestLog, replay: Replay) -> None:
    first_wrong = ""
    with Progress(sys.stderr) as progress:
        progress.begin(request_log.total_bytes, "requests")
        for past in request_log:
            try:
                replay.ask(past)
            except ProtocolError as error:
                first_wrong = first_wrong or f"{error}: {error.shown!r}"
                request_log.left_out[NOT_A_REQUEST] += 1
            if replay.requests % UPDATE_EVERY == 0:
                progress.at(request_log.read_bytes, replay.requests)
    if not replay.requests:
        wrong = f"{request_log.name} has no policy request; the first entry that is not one: {first_wrong}"
        raise UsageError(wrong if first_wrong else request_log.why_nothing())
