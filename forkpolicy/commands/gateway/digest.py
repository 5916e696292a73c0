"""`forkpolicy gateway digest`: mails people what is new for them in the store. Exit status 1: some could not be sent.

Raises UsageError, ConfigError, CannotWriteError, NotRunningError, ForkpolicyError.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import EXIT_DONE, EXIT_NO, printable
from forkpolicy.gateway.digest.running import due
from forkpolicy.gateway.digest.running import run as send_digests
from forkpolicy.gateway.settings import DEFAULT_PATH, load_gateway_settings

if TYPE_CHECKING:
    import argparse

_NOBODY: Final = "nobody is due now: nothing new is held, or neither domains file (digest=) nor person asks for digests"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--list", action="store_true", help="print who is due, and send nothing")
    parser.set_defaults(settings=DEFAULT_PATH)


def run(arguments: argparse.Namespace) -> int:
    """Send, or list."""
    settings = load_gateway_settings(arguments.settings)
    if arguments.list:
        found = list(due(settings))
        for each in found:
            print(printable(f"{each.address}  {each.count} new  {each.language}"))
        if not found:
            print(_NOBODY, file=sys.stderr)
        return EXIT_DONE
    done = send_digests(settings)
    for address, count in done.sent:
        print(printable(f"{address}: {count} new"))
    for address, error in done.failed:
        print(printable(f"{address or 'all of them'}: {error}"), file=sys.stderr)
    print(f"{len(done.sent)} sent, {len(done.failed)} failed")
    return EXIT_NO if done.failed else EXIT_DONE
