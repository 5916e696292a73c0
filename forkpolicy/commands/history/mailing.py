"""`forkpolicy history mail`: what became of mails, by the log of Postfix: a line for each recipient, the newest first.

Words are those of `find` that a mail has, or the id of a decision, or a pasted text. Exit status 1: the log has none.
Raises UsageError, HistoryError.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.history.clean import clean
from forkpolicy.commands.history.finding import MOST, add_mail_log
from forkpolicy.commands.history.looking import look, pasted_text
from forkpolicy.commands.shared.parsers import add_json
from forkpolicy.commands.shared.past_decisions import add_most, check_most, parties
from forkpolicy.errors import EXIT_DONE, EXIT_NO, UsageError
from forkpolicy.history.asking.pasted import queries_of
from forkpolicy.history.lines import time_text
from forkpolicy.history.mail_log.finding import mail_object, query_of_decision, rows_of
from forkpolicy.history.query import query_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from forkpolicy.history.mail_log.mails import Delivery, Mail, MailLog
    from forkpolicy.history.place import Reader
    from forkpolicy.history.query import Query

# Each search reads the log.
_MOST_TRIED: Final = 4


def add_mail_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument(
        "words",
        nargs="+",
        metavar="WORD",
        help="what to find: NAME:VALUE with to, from, client, login, queue, since or until as NAME; an address; the id "
        "of a decision; lines of a log or a bounce, in quotes, or from standard input with -",
    )
    add_mail_log(parser)
    add_most(parser, MOST, "print N of them at most")
    add_json(parser)


def mail(history: Reader, log: MailLog | None, arguments: argparse.Namespace, now_s: float) -> int:
    """Find and print."""
    check_most(arguments.most)
    if log is None:
        raise UsageError("[history] mail_log names no log of Postfix: name one there, or with --mail-log FILE")
    try:
        rows: list[tuple[Mail, Delivery]] = []
        for query in _queries(history, log, arguments.words, now_s):
            rows = rows_of(log, query, now_s)
            if rows:
                break
    except ValueError as error:
        raise UsageError(str(error)) from error
    for each, delivery in rows[: arguments.most]:
        print(json.dumps(mail_object(each, delivery)) if arguments.as_json else _line(each, delivery))
    if not rows:
        print(
            f"{log.name} has no such mail of the last two weeks, or of the time asked (since: until:)", file=sys.stderr
        )
    if len(rows) > arguments.most:
        print(f"these are the newest {arguments.most}: --most N shows more", file=sys.stderr)
    return EXIT_DONE if rows else EXIT_NO


def _queries(history: Reader, log: MailLog, words: list[str], now_s: float) -> Iterator[Query]:
    """What to look for in the log; of an id or a pasted text, by its decision, or else by what stands in the text."""
    text = pasted_text(words)
    query = None if text else query_of(words, now_s)
    if query and not query.ids:
        yield query
        return
    likely = [each.words for group in queries_of(text, now_s) for each in group] if text else []
    # The text of a line of the log says which mail it is; any other is first about a decision.
    yield from _understood((each for each in likely if each[0].startswith("queue:")), now_s)
    first = next(look(history, log, [text] if text else words, 1, now_s)[1], None)
    if first:
        yield query_of_decision(first, now_s)
    yield from _understood((each for each in likely if not each[0].startswith(("queue:", "id:"))), now_s)


def _understood(likely: Iterable[list[str]], now_s: float) -> Iterator[Query]:
    for each in islice(likely, _MOST_TRIED):
        with suppress(ValueError):
            # What stands in a bounce may look like an address and not be one.
            yield query_of(each, now_s)


def _line(each: Mail, delivery: Delivery) -> str:
    """For people; strangers chose most of it."""
    relay = f"{delivery.relay}: " if delivery.relay else ""
    who = parties(each.client, each.sender, delivery.original or delivery.recipient or None, each.login)
    return clean(f"{time_text(int(delivery.at_s * 1000))}  {each.queue_id or '-'}  {who}  {relay}{delivery.status}")
