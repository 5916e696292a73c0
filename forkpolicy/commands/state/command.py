"""`forkpolicy state`: `list` and `show` what greylisting, limits and lists remember; `reset`, `remember` and `forget`.

The first two read the map that the workers share, in short steps, and change nothing; who may not open it asks the
master, as a member of its control group. The others ask the running
master, whose state process does it; workers see it with their next question. An engine is asked directly: no server
needs to run here.

Exit status 1: nothing there. 69: the master is not running, there is no map, or the engine does not answer. Raises
ForkpolicyError.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

from forkpolicy.commands.shared.control import ask_master
from forkpolicy.commands.shared.parsers import add_command, add_json, add_settings
from forkpolicy.commands.state.records import print_records
from forkpolicy.control_messages import (
    COMMANDS,
    StateForgetCommand,
    StateRememberCommand,
    StateReply,
    StateResetCommand,
)
from forkpolicy.durations import parse_duration, show_duration
from forkpolicy.errors import EXIT_DONE, EXIT_NO
from forkpolicy.preflight import control_path
from forkpolicy.redis_urls import is_redis_url
from forkpolicy.settings import load_settings
from forkpolicy.state import keys
from forkpolicy.state.changing import change
from forkpolicy.state.listing import Wanted
from forkpolicy.state.reading import open_for_reading
from forkpolicy.state.redis.opening import open_store
from forkpolicy.tables.keys import fold_text

if TYPE_CHECKING:
    from collections.abc import Callable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments: a command of its own each."""
    add_settings(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_list(_command(commands, "list", "every record, or those of a kind, an ACL or a list", _list))
    show = _command(commands, "show", "the records of one key", _list)
    show.add_argument("name", metavar="NAME", help="an ACL; for a `listed` ACL, its list")
    _add_key(show, "+")
    show.set_defaults(kind="", glob="")
    reset = _command(commands, "reset", "forget what an ACL or a list has, all of it or one key", _reset)
    reset.add_argument("name", metavar="NAME", help="an ACL; for a `listed` ACL, its list")
    _add_key(reset, "*")
    remember = _command(commands, "remember", "put a key on a list", _remember)
    remember.add_argument("name", metavar="LIST", help="as an action remember names it")
    _add_key(remember, "+")
    remember.add_argument("duration_s", metavar="DURATION", type=_duration, help="90s, 5m, 2h, 7d")
    forget = _command(commands, "forget", "take a key off a list", _forget)
    forget.add_argument("name", metavar="LIST", help="as an action remember names it")
    _add_key(forget, "+")


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    run_it: Callable[[argparse.Namespace], int] = arguments.run_state
    return run_it(arguments)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    run_it: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = add_command(commands, name, summary)
    if run_it is _list:
        add_json(parser)
    parser.set_defaults(run_state=run_it)
    return parser


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", metavar="[KIND] [NAME]", nargs="*", type=str, help=f"{', '.join(keys.KIND_BYTES)}; an ACL or a list"
    )
    parser.add_argument("--key", metavar="GLOB", dest="glob", default="", help="keys such as '*@example.com'")


def _add_key(parser: argparse.ArgumentParser, count: str) -> None:
    parser.add_argument("key", metavar="KEY", nargs=count, type=fold_text, help="its parts, as `list` shows them")


def _duration(text: str) -> int:
    """Raises ArgumentTypeError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _list(arguments: argparse.Namespace) -> int:
    wanted = _wanted(arguments)
    settings = load_settings(arguments.settings)
    with closing(open_for_reading(settings.state, control_path(settings))) as store:
        count = print_records(store, wanted, as_json=arguments.as_json)
    if not count and not arguments.as_json:
        print(f"nothing is remembered{wanted.text}")
    return EXIT_DONE if count else EXIT_NO


def _wanted(arguments: argparse.Namespace) -> Wanted:
    """What `list` or `show` are asked for. Raises UsageError."""
    if "words" in arguments:
        return Wanted.of_words(arguments.words, fold_text(arguments.glob))
    return Wanted(name=arguments.name, key=tuple(arguments.key))


def _reset(arguments: argparse.Namespace) -> int:
    changed = _change(arguments, StateResetCommand(arguments.name, tuple(arguments.key)))
    print(f"{changed} record{'s' * (changed != 1)} forgotten" if changed else f"nothing is remembered{_of(arguments)}")
    return EXIT_DONE if changed else EXIT_NO


def _remember(arguments: argparse.Namespace) -> int:
    _change(arguments, StateRememberCommand(arguments.name, tuple(arguments.key), arguments.duration_s))
    print(f"{' '.join(arguments.key)} is in {arguments.name} for {show_duration(arguments.duration_s)}")
    return EXIT_DONE


def _forget(arguments: argparse.Namespace) -> int:
    changed = _change(arguments, StateForgetCommand(arguments.name, tuple(arguments.key)))
    print(f"{' '.join(arguments.key)} is {'no longer' if changed else 'not'} in {arguments.name}")
    return EXIT_DONE if changed else EXIT_NO


def _change(
    arguments: argparse.Namespace, command: StateResetCommand | StateRememberCommand | StateForgetCommand
) -> int:
    """Have the store changed; how many records that changed."""
    state = load_settings(arguments.settings).state
    if not is_redis_url(state.url):
        name = next(name for name, kind in COMMANDS.items() if kind is type(command))
        return ask_master(StateReply, arguments, {"command": name, **asdict(command)}).changed
    with closing(open_store(state)) as store:
        return change(store, command)


def _of(arguments: argparse.Namespace) -> str:
    return f" of {' '.join([arguments.name, *arguments.key])}"
