"""`forkpolicy held release`, `delete` and `expire`: what a person at a shell decides about held mail.

Exit status 1: nothing was changed. Raises NotRunningError, ForkpolicyError.
"""

from __future__ import annotations

import getpass
import json
import sys
from typing import TYPE_CHECKING

from forkpolicy.commands.held.asking import EVERYTHING, asked
from forkpolicy.documents import plain_fields
from forkpolicy.errors import EXIT_DONE, EXIT_NO, printable
from forkpolicy.gateway.store_messages import Changed, DeleteHeld, Expire, ReleaseHeld

if TYPE_CHECKING:
    import argparse

    from forkpolicy.gateway.settings import GatewaySettings
    from forkpolicy.gateway.store_messages import Command


def add_change_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of release and delete."""
    parser.add_argument("ids", type=int, nargs="+", metavar="ID", help="the numbers in `held list`")
    parser.add_argument("--learn", action="store_true", help="the scanner learns from it")


def release(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    """Send mail on to its recipients."""
    command = ReleaseHeld(EVERYTHING, tuple(arguments.ids), _who(), arguments.learn)
    return _change(settings, command, "released", arguments)


def delete(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    """Delete mail."""
    command = DeleteHeld(EVERYTHING, tuple(arguments.ids), _who(), arguments.learn)
    return _change(settings, command, "deleted", arguments)


def expire(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    """Expire now what the store expires each hour."""
    return _change(settings, Expire(), "expired", arguments)


def _change(settings: GatewaySettings, command: Command, what: str, arguments: argparse.Namespace) -> int:
    reply = asked(settings, command, Changed)
    if reply is None:
        return EXIT_NO
    if arguments.as_json:
        print(json.dumps(plain_fields(reply)))
    else:
        print(f"{reply.changed} {what}")
        for held, state in reply.already:
            print(printable(f"{held} is {state} already"), file=sys.stderr)
    return EXIT_DONE if reply.changed else EXIT_NO


def _who() -> str:
    return f"{getpass.getuser()} (shell)"
