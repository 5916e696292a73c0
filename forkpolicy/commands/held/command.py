"""`forkpolicy held`: `serve` runs the store of held mail, the other commands ask it.

Raises UsageError where the extra is missing, CannotWriteError where another store runs, ConfigError; NotRunningError
where none runs that could be asked; StoreError.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.held.asking import (
    add_list_arguments,
    add_show_arguments,
    list_mail,
    show_ledger,
    show_mail,
)
from forkpolicy.commands.held.backing_up import add_backup_arguments, add_restore_arguments, put_back, take
from forkpolicy.commands.held.changing import add_change_arguments, delete, expire, release
from forkpolicy.commands.shared.parsers import add_command, add_json
from forkpolicy.errors import EXIT_DONE, UsageError
from forkpolicy.gateway.settings import DEFAULT_PATH, GatewaySettings, load_gateway_settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_MISSING: Final = "the gateway's packages are not installed: pip install 'forkpolicy[gateway]'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments: a command of its own each."""
    parser.add_argument("-c", dest="settings", metavar="FILE", default=DEFAULT_PATH, help="gateway.toml (%(default)s)")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add = partial(_add, commands)
    add("list", list_mail, "list held mail, the newest first", add_list_arguments)
    add("show", show_mail, "show one of them: why it is held, what happened to it, its headers", add_show_arguments)
    add("release", release, "send held mail on to its recipients", add_change_arguments)
    add("delete", delete, "delete held mail", add_change_arguments)
    add("expire", expire, "expire what is too old or too much, as the store does each hour")
    add("ledger", show_ledger, "show what became of everything that was accepted")
    add("backup", take, "copy the store to another directory, while it runs", add_backup_arguments)
    add("restore", put_back, "make a store of a backup, where there is none", add_restore_arguments)
    serve = add_command(commands, "serve", "take held mail and keep it, in the foreground until it is stopped")
    serve.set_defaults(run_held=_serve)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    run_it: Callable[[GatewaySettings, argparse.Namespace], int] = arguments.run_held
    return run_it(load_gateway_settings(arguments.settings), arguments)


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run_it: Callable[[GatewaySettings, argparse.Namespace], int],
    summary: str,
    add_own: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    parser = add_command(commands, name, summary)
    if add_own:
        add_own(parser)
    add_json(parser)
    parser.set_defaults(run_held=run_it)


def _serve(settings: GatewaySettings, _arguments: argparse.Namespace) -> int:
    try:
        from forkpolicy.gateway.store.serve import serve  # noqa: PLC0415 - optional
    except ImportError as error:
        raise UsageError(f"{_MISSING} ({error})") from error
    serve(settings)
    return EXIT_DONE
