"""`forkpolicy scale N`: how many workers the running master keeps from now on."""

from __future__ import annotations

import argparse

from forkpolicy.commands.shared.control import ask_master
from forkpolicy.commands.shared.parsers import add_settings
from forkpolicy.control_messages import ScaleReply
from forkpolicy.errors import EXIT_DONE
from forkpolicy.scoreboard import MAX_WANTED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    parser.add_argument("workers", metavar="N", type=_worker_count, help=f"how many: 1 to {MAX_WANTED}")


def _worker_count(text: str) -> int:
    """Raises ArgumentTypeError."""
    if not (text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_WANTED):
        raise argparse.ArgumentTypeError(f'expected a number from 1 to {MAX_WANTED}, got "{text}"')
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Scale. Raises ForkpolicyError where the master refuses."""
    reply = ask_master(ScaleReply, arguments, {"command": "scale", "workers": arguments.workers})
    print(f"{reply.workers} workers from now on")
    return EXIT_DONE
