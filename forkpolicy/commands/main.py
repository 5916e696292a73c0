"""Arguments in, exit status out: the table of commands, and what becomes of their errors.

A command is a module with two functions, `add_arguments(parser)` and `run(arguments)`, and a line in COMMANDS. It is
imported only when its name is among the arguments, and what deals with an error only after one: `forkpolicy --help`
costs little more than Python (`python -m loadtest startup`; tests/process/test_startup.py counts the modules).

An operator's error leaves as a message on standard error and the exit status of `forkpolicy.errors`; a
traceback means a bug of ours.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy import __version__, standard_streams

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    "init": Command("forkpolicy.commands.init.command", "draft a first configuration from the running Postfix"),
    "import": Command("forkpolicy.commands.import_rules.command", "turn another server's rules into a policy"),
    "history": Command("forkpolicy.commands.history.command", "keep past decisions, find them, show why"),
    "console": Command("forkpolicy.commands.console.command", "serve the web console, and manage its accounts"),
    "gateway": Command("forkpolicy.commands.gateway.command", "set up a smart relay that holds doubtful mail"),
    "held": Command("forkpolicy.commands.held.command", "keep held mail, and show, release and delete it"),
    "hosts": Command("forkpolicy.commands.hosts.command", "show what many hosts run, and how they differ"),
    "whatif": Command(
        "forkpolicy.commands.whatif.command", "show which past decisions an exception would have changed"
    ),
    "lookup": Command("forkpolicy.commands.lookup", "look up a key in a compiled table"),
    "completion": Command("forkpolicy.commands.completion.command", "print a completion script for a shell"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    standard_streams.make_usable()
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except (Exception, KeyboardInterrupt) as error:
        status = _status_after(error)
        if status is None:
            raise
        return status


def _status_after(error: BaseException) -> int | None:
    """Report an error that is not a bug of ours; the exit status. None: it is one."""
    from forkpolicy.errors import EXIT_CANNOT_WRITE, EXIT_NO, ForkpolicyError  # noqa: PLC0415 - after an error only

    if isinstance(error, ForkpolicyError):
        print(error, file=sys.stderr)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, BrokenPipeError):
        standard_streams.discard_output()
        return EXIT_NO
    reason = standard_streams.why_unwritable() if isinstance(error, OSError) else ""
    if not reason:
        return None
    print(f"standard output cannot be written: {reason}", file=sys.stderr)
    standard_streams.discard_output()
    return EXIT_CANNOT_WRITE


def _run(argv: Sequence[str]) -> int:
    try:
        arguments = _parsed(argv)
        status: int = arguments.run(arguments)
    finally:
        # Here, not at exit: a reader that has gone away is noticed while we can still be quiet about it.
        sys.stdout.flush()
    return status


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments. What is imported for them stays: a collector that looks at it takes a tenth of a short command."""
    gc.disable()
    try:
        return make_parser(argv[0] if argv else "").parse_args(argv)
    finally:
        gc.freeze()
        gc.enable()


class _Formatter(argparse.HelpFormatter):
    """Knows how wide the terminal is. argparse makes a formatter for every argument that it is given, and where it must
    find out the width it imports `shutil`, and with that what packs files.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_terminal_columns() - 2)


class _DescriptionFormatter(argparse.RawDescriptionHelpFormatter, _Formatter):
    """The same, for texts with lines of their own."""


def _terminal_columns() -> int:
    """As `shutil.get_terminal_size` finds them: what COLUMNS says, else the terminal, else 80."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (AttributeError, ValueError, OSError):
        return 80


def make_parser(first: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands, each with its arguments. `first`: what the first argument is; where that is a
    command only this one is imported, and else none.
    """
    parser = argparse.ArgumentParser(
        prog="forkpolicy",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_DescriptionFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"forkpolicy {__version__}")
    # Without `prog` argparse formats a usage line to find it, for which it imports what looks at the terminal.
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True, prog=parser.prog
    )
    for name, (module, summary) in COMMANDS.items():
        if first in COMMANDS and name != first:
            continue
        description = f"{summary[0].upper()}{summary[1:]}."
        command = commands.add_parser(
            name, help=summary, description=description, formatter_class=_Formatter, allow_abbrev=False
        )
        if first in {None, name}:
            _fill(command, module)
    return parser


def _fill(parser: argparse.ArgumentParser, module: str) -> None:
    command = import_module(module)
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)
