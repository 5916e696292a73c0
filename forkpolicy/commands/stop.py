"""`forkpolicy stop`: have the running master stop gracefully, and wait until it has ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from forkpolicy.commands.shared.control import REPLY_TIMEOUT_S, control_socket
from forkpolicy.commands.shared.parsers import add_settings
from forkpolicy.control_client import wait_for_end
from forkpolicy.errors import EXIT_DONE, EXIT_NO

if TYPE_CHECKING:
    import argparse

# The master kills workers that have not ended after ten seconds, and then waits for the log.
END_TIMEOUT_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stop. Exit status 1: the master did not end in time."""
    if not wait_for_end(control_socket(arguments), {"command": "stop"}, REPLY_TIMEOUT_S, END_TIMEOUT_S):
        print(f"the master is stopping, and did not end within {END_TIMEOUT_S:g} s: see its log", file=sys.stderr)
        return EXIT_NO
    return EXIT_DONE
