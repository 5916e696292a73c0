"""`forkpolicy held list`, `show` and `ledger`: what the running store says, for people or as JSON.

Exit status 1: there is nothing of it; for `ledger`: something is wrong. Raises NotRunningError, ForkpolicyError.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from forkpolicy.commands.shared.past_decisions import add_most, check_most
from forkpolicy.documents import plain_fields
from forkpolicy.errors import EXIT_DONE, EXIT_NO, ForkpolicyError, UsageError, printable
from forkpolicy.gateway.client import ask, read_mail
from forkpolicy.gateway.settings import CAUSES
from forkpolicy.gateway.store_messages import (
    STATES,
    Command,
    HeldMail,
    HeldRow,
    HeldRows,
    Ledger,
    LedgerReply,
    ListHeld,
    Refused,
    Scope,
    ShowHeld,
    Wanted,
)
from forkpolicy.sizes import size_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from forkpolicy.gateway.settings import GatewaySettings

T = TypeVar("T")
# Who may ask at the socket from a shell sees everything.
EVERYTHING = Scope(everything=True)
_MOST = 50
_NONE = "there is no such mail in that state; --state all lists those in every state"


def add_list_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--state", default="held", choices=(*STATES, "all"), help="the state (default: %(default)s)")
    parser.add_argument("--cause", default="", choices=CAUSES, help="what held it")
    parser.add_argument("--recipient", default="", metavar="ADDRESS", help="for this recipient")
    parser.add_argument("--sender", default="", metavar="ADDRESS", help="of this envelope sender")
    parser.add_argument("--text", default="", help="with this in subject, sender or recipient")
    parser.add_argument("--requested", action="store_true", help="those whose release somebody asked for")
    parser.add_argument("--before", type=_place, default=None, metavar="PLACE", help="the page behind another one")
    add_most(parser, _MOST, "print N of them at most")


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("id", type=int, metavar="ID", help="the number in `held list`")
    parser.add_argument("--raw", action="store_true", help="print the mail itself, as it arrived")


def asked(settings: GatewaySettings, command: Command, kind: type[T]) -> T | None:
    """The reply of the store; None where there is no such mail, with its words on standard error."""
    reply = ask(settings.store.api, command)
    if isinstance(reply, Refused):
        if reply.kind != "no_such_mail":
            raise ForkpolicyError(f"{settings.store.api}: {reply.error}")
        print(printable(reply.error), file=sys.stderr)
        return None
    assert isinstance(reply, kind)
    return reply


def list_mail(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    """Print a line for each, the newest first."""
    check_most(arguments.most)
    state = "" if arguments.state == "all" else arguments.state
    wanted = Wanted(
        state, arguments.cause, arguments.recipient, arguments.sender, arguments.text, requested=arguments.requested
    )
    before_s, before_id = arguments.before or (None, 0)
    reply = asked(settings, ListHeld(EVERYTHING, wanted, before_s, before_id, arguments.most), HeldRows)
    if reply is None:
        return EXIT_NO
    if arguments.as_json:
        print(json.dumps(plain_fields(reply)))
    else:
        for row in reply.rows:
            print(printable(_line(row)))
        if not reply.rows:
            print(_NONE if state else "there is no such mail", file=sys.stderr)
    if reply.more:
        last = reply.rows[-1]
        print(f"there are older ones: --before {last.arrived_s!r}/{last.id}", file=sys.stderr)
    return EXIT_DONE if reply.rows else EXIT_NO


def show_mail(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    """Print all that is known of one, or its bytes."""
    reply = asked(settings, ShowHeld(EVERYTHING, arguments.id), HeldMail)
    if reply is None:
        return EXIT_NO
    if arguments.raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(read_mail(settings.store.api, EVERYTHING, arguments.id))
    elif arguments.as_json:
        print(json.dumps(plain_fields(reply)))
    else:
        for line in _lines(reply):
            print(printable(line))
    return EXIT_DONE


def show_ledger(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    """Print what became of everything that was accepted."""
    reply = asked(settings, Ledger(), LedgerReply)
    if reply is None:
        return EXIT_NO
    if arguments.as_json:
        print(json.dumps(plain_fields(reply)))
    else:
        for line in _ledger_lines(reply):
            print(printable(line))
    return EXIT_NO if reply.wrong else EXIT_DONE


def _place(text: str) -> tuple[float, int]:
    arrived_s, slash, held = text.partition("/")
    try:
        if slash:
            return float(arrived_s), int(held)
    except ValueError:
        pass
    raise UsageError(f'--before {text}: expected a place as `held list` prints it, such as "1764390000.5/17"')


def _line(row: HeldRow) -> str:
    score = "" if row.spam_score is None else f" {row.spam_score:g}"
    asked_for = f" (asked for by {row.requested_by})" if row.requested_by else ""
    return (
        f"{row.id}  {_time(row.arrived_s)}  {row.state}  {row.cause}{score}  {size_text(row.size_bytes)}  "
        f"<{row.sender}> to <{row.recipient}>  {row.subject}{asked_for}"
    )


def _lines(mail: HeldMail) -> Iterator[str]:
    row = mail.row
    client = f"{row.client_name or 'unknown'} [{row.client_address}], HELO {row.helo_name}"
    yield f"{row.id}: {row.state} since {_time(row.changed_s)} by {row.changed_by}"
    yield f"  arrived    {_time(row.arrived_s)} as {row.queue_id} from {client}"
    yield f"  envelope   <{row.sender}> to <{row.recipient}>, {size_text(row.size_bytes)}"
    yield f"  from       {row.from_header}"
    yield f"  subject    {row.subject}"
    yield f"  held by    {row.cause}: {row.why}"
    if row.requested_by:
        yield f"  asked for  by {row.requested_by}"
    if row.new_queue_id:
        yield f"  sent as    {row.new_queue_id}"
    if row.backend_reply:
        yield f"  replied    {row.backend_reply}"
    if mail.symbols:
        yield f"  scanner    {', '.join(f'{name} {score:g}' for name, score in mail.symbols)}"
    for at_s, who, what in mail.events:
        yield f"  {_time(at_s)}  {who}: {what}"
    yield ""
    yield from mail.headers.expandtabs().splitlines()


def _ledger_lines(reply: LedgerReply) -> Iterator[str]:
    yield f"accepted: {reply.accepted}"
    for state, count in reply.by_state.items():
        yield f"  {state}: {count}"
    if reply.pruned:
        yield f"of them no longer listed: {reply.pruned}"
    yield f"killed: {'once' if reply.unclean_ends == 1 else f'{reply.unclean_ends} times'}"
    for words, pairs in (("", reply.twice), (", since the connection broke", reply.broken)):
        for held, first, later in pairs:
            yield f"may have arrived twice{words}: {held}, as {first or 'an unknown queue id'} and {later}"
    for each in reply.wrong:
        yield f"wrong: {each}"


def _time(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s).astimezone():%Y-%m-%d %H:%M:%S}"
