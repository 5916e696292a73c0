"""`forkpolicy lookup TABLE KEY...`: what a compiled table has for a key, with the source file and line of the entry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from forkpolicy.commands.shared.parsers import add_json, add_settings
from forkpolicy.errors import EXIT_DONE, EXIT_NO, UsageError, nearest
from forkpolicy.loading import load_everything
from forkpolicy.tables.looking_up import look_up

if TYPE_CHECKING:
    import argparse

    from forkpolicy.tables.format import Entry
    from forkpolicy.tables.live_table import LiveTable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    parser.add_argument("table", metavar="TABLE", help="as the policy declares it")
    parser.add_argument(
        "keys",
        metavar="KEY",
        nargs="+",
        help="an address, a domain, a mail address or a text, by the table's kind; for kind pair one a column",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look one key up and print what was found. Exit status 1: nothing was."""
    table = _table(arguments.settings, arguments.table)
    try:
        entry = look_up(table, arguments.keys)
    finally:
        table.close()
    print(_as_json(arguments, entry) if arguments.as_json else _as_text(arguments, entry))
    return EXIT_DONE if entry else EXIT_NO


def _table(settings_path: str, name: str) -> LiveTable:
    """The table of that name. Raises UsageError."""
    tables = load_everything(settings_path).tables
    if name not in tables:
        near = nearest(name, tables)
        known = f'did you mean "{near}"?' if near else f"declared: {', '.join(tables) or 'none'}"
        raise UsageError(f'the policy declares no table "{name}": {known}')
    return tables[name]


def _as_json(arguments: argparse.Namespace, entry: Entry | None) -> str:
    found = {"entry": entry.key, "value": entry.value, "source": entry.source, "line": entry.line} if entry else {}
    key = arguments.keys[0] if len(arguments.keys) == 1 else arguments.keys
    return json.dumps({"table": arguments.table, "key": key, "found": entry is not None, **found})


def _as_text(arguments: argparse.Namespace, entry: Entry | None) -> str:
    if entry is None:
        asked = " ".join(arguments.keys)
        return f'table "{arguments.table}" has nothing for "{asked}"'
    place = f"{entry.source}:{entry.line}" if entry.line else entry.source
    return f"{entry.key}{f' {entry.value}' if entry.value else ''}  ({place})"
