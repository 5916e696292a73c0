"""`forkpolicy completion SHELL`: the script by which a shell completes commands, options, files and names.

With `--names KIND` it is what that script runs: the names that the policy declares, one a line. This reads settings and
policy and nothing else, because it runs while somebody waits for a key to take effect. A policy that is wrong gives the
names of what can be read; settings that are wrong give none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.commands.shared.parsers import add_settings
from forkpolicy.errors import EXIT_DONE, UsageError

if TYPE_CHECKING:
    import argparse

SHELLS: Final = ("bash", "zsh", "fish")
PROGRAMS: Final = ("forkpolicy", "forkpolicy-compile")
KINDS: Final = ("tables", "remembered", "lists", "rules")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    parser.add_argument("shell", metavar="SHELL", nargs="?", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")
    parser.add_argument(
        "program",
        metavar="PROGRAM",
        nargs="?",
        default=PROGRAMS[0],
        choices=PROGRAMS,
        help="%(default)s, or forkpolicy-compile",
    )
    parser.add_argument(
        "--names", metavar="KIND", choices=KINDS, help=f"print names that the policy declares: {', '.join(KINDS)}"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a script, or names. Raises UsageError."""
    # Each of the two has imports that the other one can do without.
    if arguments.names:
        from forkpolicy.commands.completion.names import names  # noqa: PLC0415

        for name in names(arguments.settings, arguments.names):
            print(name)
        return EXIT_DONE
    if not arguments.shell:
        raise UsageError(f"expected a shell: {', '.join(SHELLS)}")
    from forkpolicy.commands.completion.script import script  # noqa: PLC0415

    print(script(arguments.shell, arguments.program))
    return EXIT_DONE
