"""`forkpolicy init`: a first configuration from a Postfix: drafted, tried, shown, and written with `--write`.

Postfix's own files are never changed: the commands that do it are printed. Exit status 0: done; 1: a list of Postfix
could not be carried over, or the draft does not decide the sample mails as it should; 2: there is no Postfix; 73 and 78
as everywhere. Raises PostfixError, ConfigError, UnusableError, CannotWriteError.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.commands.init import showing
from forkpolicy.commands.init.drafting import draft, entries_of, names_of
from forkpolicy.commands.init.next_steps import Steps
from forkpolicy.commands.init.place import Place
from forkpolicy.commands.init.policy_text import DOMAINS_FILE
from forkpolicy.commands.init.remarks import left_out, remarks
from forkpolicy.commands.init.samples import sample_mails
from forkpolicy.commands.init.sealing import changed_by_people
from forkpolicy.commands.init.site import read_site, reading
from forkpolicy.commands.init.trial import UnusableError, tried
from forkpolicy.commands.shared.parsers import add_settings
from forkpolicy.errors import EXIT_DONE, EXIT_NO, ConfigError, Diagnostic, UsageError, printable
from forkpolicy.replaced_files import read_texts, write_files
from forkpolicy.settings import DEFAULT_PATH
from forkpolicy.tables.names import parse_host_pattern

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

    from forkpolicy.commands.init.site import Site


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    add = parser.add_argument
    add(
        "--postfix",
        metavar="DIR",
        dest="directory",
        help="the Postfix configured in DIR (default: the system's)",
    )
    add(
        "--domain",
        metavar="NAME",
        action="append",
        default=[],
        dest="domains",
        help="a domain with mailboxes here that is not in Postfix's lists; may be repeated",
    )
    add("--relay-domains", action="store_true", help="relay_domains are ours, too: no other host receives their mail")
    add("--replace", action="store_true", help="with --write: also files that people have changed")
    add("--write", action="store_true", help="write the files; those that they replace are kept as NAME.before-init")


def run(arguments: argparse.Namespace) -> int:
    """Draft, try, show, and write if asked."""
    place = Place(Path(arguments.settings).absolute())
    domains = [_domain(each) for each in arguments.domains]
    there = read_texts(place.directory, names_of(place))
    named = dict.fromkeys([*entries_of(there.get(DOMAINS_FILE, "")), *domains])
    with reading(arguments.directory) as is_default:
        site = read_site(
            arguments.directory,
            is_default=is_default,
            named=list(named),
            with_relayed=arguments.relay_domains,
            instance=place.instance,
        )
        files = draft(site, place, there)
        missing = list(left_out(site, place))
        _print(showing.show_site(site))
        _print(showing.show_notes(missing, list(remarks(site, place))))
        as_meant, shrinks = _try(site, place, files, there)
    kept = changed_by_people(files, there)
    if arguments.write and kept and not arguments.replace:
        raise ConfigError([_changed(place.directory / name) for name in kept])
    if arguments.write:
        _print(["", *write_files(place.directory, files, there, "init")])
    steps = Steps(site, place, shrinks=shrinks)
    again = _again(arguments) + (" --replace" if kept else "")
    _print(showing.show_next(steps, files, there, written=arguments.write, again=again))
    # An operator who names domains has read what Postfix's lists do not give.
    answered = not missing or (domains and not site.networks.problems)
    return EXIT_DONE if as_meant and answered else EXIT_NO


def _try(site: Site, place: Place, files: Mapping[str, str], there: Mapping[str, str]) -> tuple[bool, bool]:
    """Show what changes, what `check` says and what is decided; whether that is as meant, and whether tables in use
    shrink by more than half. Raises UnusableError.
    """
    mails = sample_mails(site)
    with tried(site, place, files) as trial:
        trial.change_postfix()
        _print(showing.show_differences(site, place, files, there, trial.postfix))
        trial.compile()
        diagnostics = trial.check()
        _print(showing.show_check(diagnostics))
        # What the settings name need not be there yet: users, directories.
        if any(each.severity == "error" and each.path != str(place.settings) for each in diagnostics):
            raise UnusableError("the draft does not pass `forkpolicy check`: nothing was written")
        answers = trial.ask([each.request for each in mails])
    _print(showing.show_answers(zip(mails, answers, strict=True)))
    wrong = [
        mail.title for mail, answer in zip(mails, answers, strict=True) if not answer.reply.startswith(mail.expected)
    ]
    if wrong:
        print(f"not as it should be: {', '.join(wrong)}; please report this", file=sys.stderr)
    return not wrong, trial.shrinks


def _changed(path: Path) -> Diagnostic:
    hint = "take over by hand what the difference above shows, or replace it with --write --replace, which keeps a copy"
    return Diagnostic(str(path), 0, 0, "has rules or settings that init did not write: nothing was written", hint=hint)


def _domain(text: str) -> str:
    try:
        return parse_host_pattern(text)
    except ValueError as error:
        raise UsageError(f"--domain {text}: {error}") from error


def _again(arguments: argparse.Namespace) -> str:
    """The options that were given, for the next command."""
    words = ["-c", arguments.settings] if arguments.settings != DEFAULT_PATH else []
    words += ["--postfix", arguments.directory] if arguments.directory else []
    words += [word for each in arguments.domains for word in ("--domain", each)]
    words += ["--relay-domains"] if arguments.relay_domains else []
    return "".join(f" {shlex.quote(word)}" for word in words)


def _print(lines: Iterable[str]) -> None:
    for line in (part for each in lines for part in each.split("\n")):
        # The differences are for patch(1), which wants tabs.
        print("\t".join(map(printable, line.split("\t"))))
