"""`forkpolicy serve`: the master, in the foreground until it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.commands.shared.parsers import add_settings
from forkpolicy.master.signals import hold

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until the end; the master's exit status."""
    # A TERM ends the start; what else an operator or logrotate may send waits until the master catches signals. That
    # begins before the rest is imported, which takes longer than a worker's start.
    hold()
    from forkpolicy.commands.serve.composition import serve  # noqa: PLC0415 - see above

    return serve(arguments.settings)
