"""`forkpolicy held`: `serve` runs the store of held mail, the other commands ask it.

Raises UsageError where the extra is missing, CannotWriteError where another store runs, ConfigError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.commands.shared.parsers import add_command
from forkpolicy.errors import EXIT_DONE, UsageError
from forkpolicy.gateway.settings import DEFAULT_PATH, load_gateway_settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_MISSING: Final = "the gateway's packages are not installed: pip install 'forkpolicy[gateway]'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments: a command of its own each."""
    parser.add_argument("-c", dest="settings", metavar="FILE", default=DEFAULT_PATH, help="gateway.toml (%(default)s)")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    serve = add_command(commands, "serve", "take held mail and keep it, in the foreground until it is stopped")
    serve.set_defaults(run_held=_serve)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    run_it: Callable[[argparse.Namespace], int] = arguments.run_held
    return run_it(arguments)


def _serve(arguments: argparse.Namespace) -> int:
    settings = load_gateway_settings(arguments.settings)
    try:
        from forkpolicy.gateway.store.serve import serve  # noqa: PLC0415 - optional
    except ImportError as error:
        raise UsageError(f"{_MISSING} ({error})") from error
    serve(settings)
    return EXIT_DONE
