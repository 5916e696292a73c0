"""What the parsers of all commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.settings import DEFAULT_PATH

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    """A command with what every command takes: `-c FILE` and its help."""
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    parser.add_argument(
        "-c", dest="settings", metavar="FILE", default=DEFAULT_PATH, help="settings (default: %(default)s)"
    )
    parser.set_defaults(run=run)
    return parser


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`, for commands whose results tools read."""
    parser.add_argument("--json", action="store_true", dest="as_json", help="print the result as JSON")
