"""Commands about a running server: status, top, reload, scale, stop; and serve, which serve.py puts together."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from typing import TYPE_CHECKING

from forkpolicy.commands.parsers import add_command, add_json
from forkpolicy.errors import EXIT_DONE, EXIT_NO
from forkpolicy.master.sockets.control import ask, look
from forkpolicy.preflight import control_path
from forkpolicy.scoreboard import MAX_WANTED
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    from typing import Any

ANSWER_TIMEOUT_S = 10.0
# Three phases of a reload with their own time limits, and some.
RELOAD_TIMEOUT_S = 210.0
STOP_TIMEOUT_S = 60.0


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the table."""
    add_command(commands, "serve", _serve, "run the master in the foreground until it is told to stop")
    add_json(add_command(commands, "status", _status, "look at the running master and its workers"))
    top = add_command(commands, "top", _top, "the same, live, on a terminal")
    top.add_argument(
        "-d", dest="interval_s", metavar="SECONDS", type=_interval, default=1.0, help="between looks (default: 1)"
    )
    top.add_argument("-n", dest="looks", metavar="N", type=_looks, default=0, help="end after N looks (default: never)")
    add_command(commands, "reload", _reload, "read settings and policy again; answers when every worker serves them")
    scale = add_command(commands, "scale", _scale, "run N workers from now on")
    scale.add_argument("workers", metavar="N", type=_worker_count, help=f"how many: 1 to {MAX_WANTED}")
    add_command(commands, "stop", _stop, "stop the running master gracefully")


def _worker_count(text: str) -> int:
    """The argument of `scale`. Raises ArgumentTypeError."""
    if not (text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_WANTED):
        raise argparse.ArgumentTypeError(f'expected a number from 1 to {MAX_WANTED}, got "{text}"')
    return int(text)


def _interval(text: str) -> float:
    """Seconds between two looks of `top`. Raises ArgumentTypeError."""
    from forkpolicy.commands.top import LEAST_INTERVAL_S, LONGEST_INTERVAL_S

    with contextlib.suppress(ValueError):
        if LEAST_INTERVAL_S <= float(text) <= LONGEST_INTERVAL_S:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected {LEAST_INTERVAL_S:g} to {LONGEST_INTERVAL_S:g} seconds, found {text!r}")


def _looks(text: str) -> int:
    """How many looks of `top`. Raises ArgumentTypeError."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a number of looks from 1 on, found {text!r}")


def _serve(arguments: argparse.Namespace) -> int:
    from forkpolicy.master.signals import hold

    # A TERM ends the start; what else an operator or logrotate may send waits until the master catches signals. That
    # begins before the rest is imported, which takes longer than a worker's birth.
    hold()
    from forkpolicy.commands.serve import serve

    return serve(arguments.settings)


def _ask(arguments: argparse.Namespace, command: dict[str, Any], timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
    return ask(control_path(load_settings(arguments.settings)), command, timeout_s)


def _look(arguments: argparse.Namespace) -> dict[str, Any]:
    return look(control_path(load_settings(arguments.settings)), ANSWER_TIMEOUT_S)


def _status(arguments: argparse.Namespace) -> int:
    from forkpolicy.commands import status

    seen = status.as_object(_look(arguments))
    print(json.dumps(seen) if arguments.as_json else status.as_text(seen))
    return EXIT_DONE


def _top(arguments: argparse.Namespace) -> int:
    from forkpolicy.commands.top import live

    return live(lambda: _look(arguments), arguments.interval_s, arguments.looks)


def _reload(arguments: argparse.Namespace) -> int:
    answer = _ask(arguments, {"command": "reload"}, RELOAD_TIMEOUT_S)
    for complaint in answer["complaints"]:
        print(complaint, file=sys.stderr)
    # What the start prints, too; a shadow policy that is left out is among them.
    for warning in answer.get("warnings", ()):
        print(warning, file=sys.stderr)
    for note in answer["notes"]:
        print(f"note: {note}", file=sys.stderr)
    if not answer["ok"]:
        print(f"reload refused: generation {answer['generation']} goes on serving", file=sys.stderr)
        return EXIT_NO
    print(f"every worker serves generation {answer['generation']}")
    return EXIT_DONE


def _scale(arguments: argparse.Namespace) -> int:
    answer = _ask(arguments, {"command": "scale", "workers": arguments.workers})
    if not answer["ok"]:
        print(answer["error"], file=sys.stderr)
        return EXIT_NO
    print(f"{answer['workers']} workers from now on")
    return EXIT_DONE


def _stop(arguments: argparse.Namespace) -> int:
    from forkpolicy.master.sockets.control import wait_for_end

    path = control_path(load_settings(arguments.settings))
    if not wait_for_end(path, {"command": "stop"}, STOP_TIMEOUT_S):
        print(f"the master has not ended within {STOP_TIMEOUT_S:g} s", file=sys.stderr)
        return EXIT_NO
    return EXIT_DONE
