"""`forkpolicy import FORMAT FILE ...`: prints a policy, or writes it with its tables; lists what it leaves out.

Exit status 0: everything was carried over; 1: something was left out, or `--compare` found a difference. Raises
UsageError for files of another format, ConfigError for files that cannot be read, CannotWriteError. Nothing is printed
that does not load: `checked` sees to that.
"""

from __future__ import annotations

import argparse
import gc
import sys

from forkpolicy.commands.import_rules.checking import checked
from forkpolicy.commands.import_rules.comparing import compare, refuse_incomparable
from forkpolicy.commands.import_rules.report import report
from forkpolicy.commands.import_rules.writing import write_out
from forkpolicy.errors import EXIT_DONE, EXIT_NO, UsageError
from forkpolicy.files import Files
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import FORMATS, Inputs, load_format
from forkpolicy.importing.recognise import refuse_others
from forkpolicy.loading import uncollected
from forkpolicy.secrets import masked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments, and the options that some formats have."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "formats:\n" + "\n".join(f"  {name:12} {entry.title}" for name, entry in FORMATS.items())
    parser.add_argument("format", metavar="FORMAT", choices=FORMATS, help="whose rules they are")
    parser.add_argument("files", nargs="+", metavar="FILE", help="what to import")
    parser.add_argument("--out", metavar="DIR", help="write policy.conf and its tables into this new directory")
    parser.add_argument(
        "--compare",
        metavar="REQUESTS",
        help="instead of printing the policy, list the requests of this file (as replay reads it) to which the "
        "original server, which must be installed, replies differently",
    )
    for name, entry in FORMATS.items():
        for option in entry.options:
            text = f"{name}: {option.help}"
            parser.add_argument(f"--{option.name}", metavar=option.metavar, help=text, choices=option.choices)


def run(arguments: argparse.Namespace) -> int:
    """Read, check, print or write, or compare; report on standard error."""
    inputs = Inputs(tuple(arguments.files), Files(), _options(arguments))
    if arguments.compare:
        refuse_incomparable(load_format(arguments.format))
    draft = imported(arguments.format, inputs)
    if arguments.out:
        write_out(arguments.out, draft)
    elif not arguments.compare:
        print(draft.policy_text(), end="")
    print(report(draft, arguments.out), file=sys.stderr)
    same = not arguments.compare or compare(arguments.format, inputs, draft, arguments.compare)
    return EXIT_DONE if same and not draft.left_out else EXIT_NO


def imported(name: str, inputs: Inputs) -> Draft:
    """The draft of these files, which loads. Raises ConfigError and UsageError."""
    form = load_format(name)
    refuse_others(form, inputs)
    draft = Draft([f"Imported from {masked(', '.join(inputs.paths))} ({form.title})."])
    # What is made of 50,000 rules stays: without the collector it takes half of the time.
    with uncollected():
        form.read(inputs, draft)
        checked(draft)
        # The command ends soon: one look at all of it would take more than a second.
        gc.freeze()
    return draft


def _options(arguments: argparse.Namespace) -> dict[str, str]:
    """The format's own options that were given. Raises UsageError for one of another format."""
    given = {}
    for name, entry in FORMATS.items():
        for option in entry.options:
            value = getattr(arguments, option.name)
            if value is not None and name != arguments.format:
                raise UsageError(f"--{option.name} is an option of the format {name}, not of {arguments.format}")
            if value is not None:
                given[option.name] = value
    return given
