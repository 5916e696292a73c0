"""Commands that need no running master: check, explain, replay, lookup.

The tools are imported when their command runs: `forkpolicy status` should not pay for RE2 and LMDB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.commands.parsers import add_command, add_json

if TYPE_CHECKING:
    import argparse
import os


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the table."""
    check = add_command(commands, "check", _check, "find every mistake in settings, policy and tables")
    check.add_argument(
        "--postfix",
        metavar="DIR",
        help="check the Postfix configured in DIR, too (default: the system's if there is one; none: leave out)",
    )
    add_json(check)
    explain = add_command(commands, "explain", _explain, "show the action that a policy request gets, and why")
    explain.add_argument(
        "what",
        nargs="*",
        metavar="FILE | NAME=VALUE | LINE",
        help="a file of requests as Postfix sends them, or of lines of a log (default: standard input); or attributes "
        "of one request; or one line of a log, in quotes: a decision of ours, or Postfix's NOQUEUE: reject",
    )
    explain.add_argument("--all", action="store_true", dest="show_all", help="go on past the line that decides")
    add_json(explain)
    replay = add_command(commands, "replay", _replay, "ask a policy again what has been asked before")
    replay.add_argument(
        "file", metavar="FILE", help='raw requests, or a JSON decision log of decisions = "all"; -: stdin'
    )
    replay.add_argument(
        "--against", metavar="OTHER.toml", help="name the requests whose reply changes with this policy"
    )
    add_json(replay)
    lookup = add_command(commands, "lookup", _lookup, "look a key up in a compiled table")
    lookup.add_argument("table", metavar="TABLE", help="as the policy declares it")
    lookup.add_argument(
        "key", metavar="KEY", help="an address, a domain, a mail address or a text, by the table's kind"
    )
    add_json(lookup)


def _check(arguments: argparse.Namespace) -> int:
    from forkpolicy.commands import check
    from forkpolicy.compile.freshness import source_complaints

    return check.run(
        arguments.settings, as_json=arguments.as_json, postfix=arguments.postfix, look_at_sources=source_complaints
    )


def _is_text(word: str) -> bool:
    """Attributes or a line of a log, and not the name of a file."""
    return not {"=", "{"}.isdisjoint(word) or (" " in word and not os.path.lexists(word))


def _explain(arguments: argparse.Namespace) -> int:
    from forkpolicy.commands import explain

    words: list[str] = arguments.what
    is_file = len(words) == 1 and not _is_text(words[0])
    file, attributes = (words[0], []) if is_file else (None, words)
    return explain.run(arguments.settings, file, attributes, as_json=arguments.as_json, show_all=arguments.show_all)


def _replay(arguments: argparse.Namespace) -> int:
    from forkpolicy.commands import replay

    return replay.run(arguments.settings, arguments.file, against=arguments.against, as_json=arguments.as_json)


def _lookup(arguments: argparse.Namespace) -> int:
    from forkpolicy.commands import lookup

    return lookup.run(arguments.settings, arguments.table, arguments.key, as_json=arguments.as_json)
