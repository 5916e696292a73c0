"""`forkpolicy history find`: a line for each decision that meets all words, the newest first, as they are found.

Exit status 1: there is none, and standard error has why that may be. Gaps in the time looked at are named there, too.
Raises UsageError, HistoryError.
"""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.history.clean import clean
from forkpolicy.commands.history.looking import look
from forkpolicy.commands.shared.past_decisions import add_most, check_most, parties
from forkpolicy.csv_cells import without_formulas
from forkpolicy.errors import EXIT_DONE, EXIT_NO, UsageError
from forkpolicy.history.asking.nothing import hints
from forkpolicy.history.lines import time_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from forkpolicy.history.mail_log.mails import MailLog
    from forkpolicy.history.place import Reader
    from forkpolicy.history.search import Found
    from forkpolicy.history_settings import HistorySettings

FIELDS: Final = (
    "time",
    "id",
    "verb",
    "client",
    "sender",
    "recipient",
    "login",
    "rule",
    "acls",
    "queue_id",
    "host",
    "in_force",
    "is_cut",
    "is_sure",
)
MOST: Final = 100


def add_find_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument(
        "words",
        nargs="+",
        metavar="WORD",
        help="what to find: NAME:VALUE with to, from, client, login, rule, action, queue, id, host, since or until as "
        "NAME; an address, a domain, a network or an id; ~TEXT, which searches whole lines; lines of a log or a "
        "bounce, in quotes, or from standard input with -",
    )
    add_mail_log(parser)
    add_most(parser, MOST, "print N of them at most")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", dest="as_json", help="print a JSON object for each decision")
    forms.add_argument("--csv", action="store_true", dest="as_csv", help="print comma-separated values with a header")


def add_mail_log(parser: argparse.ArgumentParser) -> None:
    """The option of those that read it."""
    parser.add_argument(
        "--mail-log", default="", metavar="FILE", help="Postfix's log, or `journal` (default: [history] mail_log)"
    )


def find(
    history: Reader, log: MailLog | None, settings: HistorySettings, arguments: argparse.Namespace, now_s: float
) -> int:
    """Find and print."""
    check_most(arguments.most)
    try:
        query, found = look(history, log, arguments.words, arguments.most, now_s)
    except ValueError as error:
        raise UsageError(str(error)) from error
    printed = _print(found, _form(arguments))
    for at_ms, lines, reason in history.gaps(query):
        missing = "1 log line is missing" if lines == 1 else f"{lines} log lines are missing"
        print(f"{time_text(at_ms)}: {missing}: {reason}", file=sys.stderr)
    if not printed:
        for each in hints(history, settings, now_s):
            print(each, file=sys.stderr)
    if printed == arguments.most:
        print(f"these are the newest {printed}: --most N shows more", file=sys.stderr)
    return EXIT_DONE if printed else EXIT_NO


def _print(found: Iterable[Found], form: Callable[[Found], None]) -> int:
    printed = 0
    for each in found:
        form(each)
        printed += 1
    return printed


def _form(arguments: argparse.Namespace) -> Callable[[Found], None]:
    if arguments.as_json:
        return lambda found: print(json.dumps({name: getattr(found, name) for name in FIELDS}))
    if arguments.as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(FIELDS)
        return lambda found: _row(writer.writerow, found)
    return lambda found: print(_line(found))


def _row(write: Callable[[list[object]], object], found: Found) -> None:
    write([_cell(getattr(found, name)) for name in FIELDS])


def _cell(value: object) -> object:
    """Without characters of control and formulas: strangers chose it."""
    return without_formulas(clean(value)) if isinstance(value, str) else value


def _line(found: Found) -> str:
    """For people; strangers chose the addresses."""
    sure = "" if found.is_sure else "  (probably the same mail)"
    who = parties(found.client, found.sender, found.recipient, found.login)
    return clean(f"{found.time}  {found.id}  {found.verb:6}  {who}  {found.rule}{sure}")
