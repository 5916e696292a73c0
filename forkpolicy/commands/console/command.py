"""`forkpolicy console`: `serve` runs the web console, `user` manages who may sign in.

Raises UsageError where the extra is missing, CannotWriteError where another process listens there, ConfigError.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.console.users import add_user_commands
from forkpolicy.commands.shared.parsers import add_command, add_settings
from forkpolicy.errors import EXIT_DONE, UsageError
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_MISSING: Final = "the console's packages are not installed: pip install 'forkpolicy[console]'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments: a command of its own each."""
    add_settings(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    serve = add_command(commands, "serve", "serve the web console in the foreground until it is stopped")
    serve.set_defaults(run_console=_serve)
    add_user_commands(commands)


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    run_it: Callable[[argparse.Namespace], int] = arguments.run_console
    return run_it(arguments)


def _serve(arguments: argparse.Namespace) -> int:
    settings = load_settings(arguments.settings)
    try:
        from forkpolicy.console import memory  # noqa: PLC0415 - optional
        from forkpolicy.console.app import application  # noqa: PLC0415 - optional
        from forkpolicy.console.parts import Parts  # noqa: PLC0415 - optional
        from forkpolicy.console.serve import serve  # noqa: PLC0415 - optional
    except ImportError as error:
        raise UsageError(f"{_MISSING} ({error})") from error
    memory.limit_arenas()
    parts = Parts(settings)
    # It may wait for a reload of the server.
    threading.Thread(target=parts.change.mend, daemon=True).start()
    if parts.gateway.is_on:
        threading.Thread(target=parts.lists.mend, daemon=True).start()
    threading.Thread(target=parts.now.warm, daemon=True).start()
    app = application(parts, parts.door)
    memory.freeze()
    serve(app, settings.console.listen)
    return EXIT_DONE
