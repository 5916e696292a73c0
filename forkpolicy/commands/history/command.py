"""`forkpolicy history`: `ingest` takes the log of `[history]` in, `find` and `show` answer from what was taken in, and
`mail` says what became of mails by the log of Postfix; `export` and `forget` are about a person.

`find`, `mail` and `show` need neither the server nor the ingester. Exit status 1: nothing was found. Raises UsageError,
HistoryError, ConfigError.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from typing import TYPE_CHECKING

from forkpolicy.commands.history.finding import add_find_arguments, find
from forkpolicy.commands.history.mailing import add_mail_arguments, mail
from forkpolicy.commands.history.personal import add_person, add_yes, export_person, forget_person
from forkpolicy.commands.history.showing import show
from forkpolicy.commands.history.stopping import StopSignals
from forkpolicy.commands.shared.parsers import add_command, add_json, add_settings
from forkpolicy.errors import EXIT_DONE, CannotWriteError, UsageError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.keeping import Keeper
from forkpolicy.history.mail_log.opening import open_mail_log
from forkpolicy.history.opening import open_history, open_store
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments: a command of its own each."""
    add_settings(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    ingest = _command(commands, "ingest", "read the log of decisions into the history, until it is stopped", _ingest)
    ingest.add_argument("--once", action="store_true", help="read what is there, and end")
    add_find_arguments(_command(commands, "find", "find decisions that match all words, the newest first", _find))
    add_mail_arguments(_command(commands, "mail", "show what became of mails, by the log of Postfix", _mail))
    show_one = _command(commands, "show", "show one decision: its request, the rule, and why it applied", _show)
    show_one.add_argument("id", metavar="ID", help="as `find`, the log, or {code} in a reply shows it")
    add_json(show_one)
    export = _command(commands, "export", "print everything that is kept about a person", _export)
    add_person(export)
    add_json(export)
    forget = _command(commands, "forget", "remove everything that is kept about a person, from the log, too", _forget)
    add_person(forget)
    add_yes(forget)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    run_it: Callable[[argparse.Namespace], int] = arguments.run_history
    return run_it(arguments)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    run_it: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = add_command(commands, name, summary)
    parser.set_defaults(run_history=run_it)
    return parser


def _ingest(arguments: argparse.Namespace) -> int:
    settings = load_settings(arguments.settings).history
    if not settings.log:
        raise UsageError(f"{arguments.settings}: [history] log names no file: the server writes no history")
    # The group may read whatever umask a unit has set; nobody else may.
    os.umask(0o027)
    try:
        keeper = Keeper(arguments.settings, settings, _say, time.time)
        ingester = Ingester(settings.log, open_store(settings), settings.keep_days, _say, keeper=keeper)
    except OSError as error:
        raise CannotWriteError(f"{error.filename or settings.path} cannot be written: {error.strerror}") from error
    except sqlite3.Error as error:
        raise CannotWriteError(f"{settings.path} cannot be written: {error}") from error
    run_it = ingester.run_once if arguments.once else ingester.run
    run_it(StopSignals())
    return EXIT_DONE


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _find(arguments: argparse.Namespace) -> int:
    settings, now_s = load_settings(arguments.settings).history, time.time()
    return find(open_history(settings), open_mail_log(settings, now_s, arguments.mail_log), settings, arguments, now_s)


def _mail(arguments: argparse.Namespace) -> int:
    settings, now_s = load_settings(arguments.settings).history, time.time()
    return mail(open_history(settings), open_mail_log(settings, now_s, arguments.mail_log), arguments, now_s)


def _show(arguments: argparse.Namespace) -> int:
    return show(arguments.settings, arguments.id, as_json=arguments.as_json)


def _export(arguments: argparse.Namespace) -> int:
    settings = load_settings(arguments.settings).history
    return export_person(settings, arguments.address, as_json=arguments.as_json)


def _forget(arguments: argparse.Namespace) -> int:
    settings = load_settings(arguments.settings).history
    return forget_person(settings, arguments.address, time.time(), is_sure=arguments.is_sure)
