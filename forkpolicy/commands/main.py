"""Arguments in, exit status out. Each group of commands is a file that adds its own parsers to the table.

Whatever an operator did wrong leaves as a message on standard error and the exit status of `forkpolicy.errors`; a
traceback means a bug of ours.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from forkpolicy import __version__, standard_streams
from forkpolicy.commands import advise, local, server
from forkpolicy.errors import EXIT_CANNOT_WRITE, EXIT_NO, ForkpolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DESCRIPTION = """\
Policy server for Postfix (check_policy_service): a master, pre-forked workers, one-line rules, compiled tables.
Tables are compiled by forkpolicy-compile."""
EPILOG = """\
exit status:
  0 done; 1 done, and the answer is no; 2 wrong usage; 69 the master isn't running;
  73 a file cannot be written, or another server listens there; 78 the configuration is wrong;
  130 interrupted from the terminal

Every command explains itself: forkpolicy COMMAND --help"""

GROUPS: tuple[Callable[[argparse._SubParsersAction[argparse.ArgumentParser]], None], ...] = (
    server.add_commands,
    advise.add_commands,
    local.add_commands,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    standard_streams.fill_closed()
    try:
        return _run(argv)
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


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = make_parser().parse_args(argv)
        status: int = arguments.run(arguments)
    finally:
        # Here, not at exit: a reader that has gone away is noticed while we can still be quiet about it.
        sys.stdout.flush()
    return status


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the documentation's test reads it too."""
    parser = argparse.ArgumentParser(
        prog="forkpolicy",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"forkpolicy {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for add_commands in GROUPS:
        add_commands(commands)
    return parser
