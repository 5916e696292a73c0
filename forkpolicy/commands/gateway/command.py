"""`forkpolicy gateway`: the table of its commands, a module each, with `add_arguments` and `run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.commands.gateway import check, digest, setup
from forkpolicy.commands.shared.parsers import add_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments: a command of its own each."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    one = add_command(commands, "setup", "show what a gateway needs of Postfix, rspamd and forkpolicy, and write it")
    setup.add_arguments(one)
    one.set_defaults(run_gateway=setup.run)
    one = add_command(commands, "check", "report what is wrong with a gateway's Postfix, store and files")
    check.add_arguments(one)
    one.set_defaults(run_gateway=check.run)
    one = add_command(commands, "digest", "mail people what is newly held for them, those who are due")
    digest.add_arguments(one)
    one.set_defaults(run_gateway=digest.run)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    run_it: Callable[[argparse.Namespace], int] = arguments.run_gateway
    return run_it(arguments)
