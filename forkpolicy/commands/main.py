"""Arguments in, exit status out: the table of commands, and what becomes of their errors.

A command is a module with two functions, `add_arguments(parser)` and `run(arguments)`, and a line in COMMANDS. It is
imported only when its name is among the arguments, so that `forkpolicy --help` stays fast.

An operator's error leaves as a message on standard error and the exit status of `forkpolicy.errors`; a
traceback means a bug of ours.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy import __version__, standard_streams
from forkpolicy.errors import EXIT_CANNOT_WRITE, EXIT_NO, ForkpolicyError

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

DESCRIPTION = """\
Policy server for Postfix (check_policy_service): a master, pre-forked workers, one-line rules, compiled tables.
Tables are compiled by forkpolicy-compile."""
EPILOG = """\
exit status:
  0 done; 1 done, and the answer is no; 2 wrong usage; 69 the master is not running;
  73 a file cannot be written, or another server listens there; 78 the configuration is wrong;
  130 interrupted from the terminal

Every command explains itself: forkpolicy COMMAND --help"""


class Command(NamedTuple):
    """Where a command is, and what `forkpolicy --help` says about it."""

    module: str
    summary: str


COMMANDS: Final = {
    "serve": Command("forkpolicy.commands.serve.command", "run the master in the foreground until it is stopped"),
    "status": Command("forkpolicy.commands.status", "show the running master and its workers"),
    "top": Command("forkpolicy.commands.top.command", "the same, live, on a terminal"),
    "reload": Command(
        "forkpolicy.commands.reload", "read settings and policy again; returns once every worker uses them"
    ),
    "scale": Command("forkpolicy.commands.scale", "run N workers from now on"),
    "stop": Command("forkpolicy.commands.stop", "stop the running master gracefully"),
    "advise": Command("forkpolicy.commands.advise", "measure the running server and recommend a number of workers"),
    "check": Command("forkpolicy.commands.check", "report every error in settings, policy and tables"),
    "explain": Command("forkpolicy.commands.explain.command", "show which action a request gets, and why"),
    "replay": Command(
        "forkpolicy.commands.replay.command", "evaluate past requests with the policy, and compare with another one"
    ),
    "state": Command("forkpolicy.commands.state.command", "show and change what the policy remembers"),
    "lookup": Command("forkpolicy.commands.lookup", "look up a key in a compiled table"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    standard_streams.make_usable()
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except ForkpolicyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        standard_streams.discard_output()
        return EXIT_NO
    except OSError:
        reason = standard_streams.why_unwritable()
        if not reason:
            raise
        print(f"standard output cannot be written: {reason}", file=sys.stderr)
        standard_streams.discard_output()
        return EXIT_CANNOT_WRITE
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str]) -> int:
    try:
        arguments = make_parser(argv).parse_args(argv)
        status: int = arguments.run(arguments)
    finally:
        # Here, not at exit: a reader that has gone away is noticed while we can still be quiet about it.
        sys.stdout.flush()
    return status


def make_parser(asked: Container[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of all commands; those whose names are in `asked` are imported and have their arguments."""
    parser = argparse.ArgumentParser(
        prog="forkpolicy",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"forkpolicy {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for name, (module, summary) in COMMANDS.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        command = commands.add_parser(name, help=summary, description=description, allow_abbrev=False)
        if name in asked:
            _fill(command, module)
    return parser


def _fill(parser: argparse.ArgumentParser, module: str) -> None:
    command = import_module(module)
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)
