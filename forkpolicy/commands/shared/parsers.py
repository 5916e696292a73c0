"""Arguments that several commands have."""

from __future__ import annotations

import argparse

from forkpolicy.settings import DEFAULT_PATH


def add_settings(parser: argparse.ArgumentParser) -> None:
    """`-c FILE`, as `arguments.settings`."""
    parser.add_argument(
        "-c", dest="settings", metavar="FILE", default=DEFAULT_PATH, help="settings (default: %(default)s)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`, as `arguments.as_json`, for commands whose results tools read."""
    parser.add_argument("--json", action="store_true", dest="as_json", help="print the result as JSON")


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str
) -> argparse.ArgumentParser:
    """The parser of a command of a command, such as `state list`."""
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    # Before the command or behind it: what is not given here must not hide what was given there.
    parser.add_argument("-c", dest="settings", metavar="FILE", default=argparse.SUPPRESS, help="settings")
    return parser
