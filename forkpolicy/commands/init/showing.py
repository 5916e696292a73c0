"""What `forkpolicy init` prints: Postfix, the remarks, the differences, what was tried, and the next commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import printable
from forkpolicy.replaced_files import difference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from forkpolicy.commands.init.lists import Listed
    from forkpolicy.commands.init.next_steps import Steps
    from forkpolicy.commands.init.place import Place
    from forkpolicy.commands.init.samples import Mail
    from forkpolicy.commands.init.site import Site
    from forkpolicy.commands.init.trial import Answer
    from forkpolicy.errors import Diagnostic

_MOST_SHOWN = 4


def show_site(site: Site) -> Iterator[str]:
    """What was found of Postfix."""
    parameters = site.parameters
    yield f"Postfix {parameters['mail_version']} in {site.directory}, {parameters['myhostname']}"
    for listed in (*site.domains, site.networks):
        yield f"  {listed.parameter:24}{_in_words(listed)}"
    for service in site.services:
        asks = "" if not service.own_list else ", with recipient restrictions of its own"
        yield f"  {service.name:24}{service.role.value}{asks}"


def _in_words(listed: Listed) -> str:
    if not listed.value:
        return "empty"
    entries = [each for each in listed.entries if each[0] != "."]
    more = f" and {len(entries) - _MOST_SHOWN} more" if len(entries) > _MOST_SHOWN else ""
    problems = f"; {len(listed.problems)} cannot be listed" if listed.problems else ""
    return f"{', '.join(entries[:_MOST_SHOWN]) or 'no entry'}{more}{problems}"


def show_notes(left_out: Sequence[str], remarks: Sequence[str]) -> Iterator[str]:
    """What is missing, then what to know."""
    if left_out:
        yield from ("", "Left out:", *(f"  {each}" for each in left_out))
    if remarks:
        yield from ("", "To know:", *(f"  {each}" for each in remarks))


def show_differences(
    site: Site, place: Place, files: Mapping[str, str], there: Mapping[str, str], changed: Path
) -> Iterator[str]:
    """Every file that would change, and Postfix's own, of which `changed` has copies with the changes."""
    for name, text in files.items():
        shown = difference(place.directory / name, there.get(name), text)
        yield from ("", shown or f"{place.directory / name}: nothing to change")
    for name in sorted({each.file for each in site.changes}):
        old, new = ((base / name).read_text(errors="surrogateescape") for base in (site.directory, changed))
        yield from ("", difference(site.directory / name, old, new))
    if not site.changes:
        yield from ("", f"{site.directory / 'main.cf'}: nothing to change")


def show_check(diagnostics: Sequence[Diagnostic]) -> Iterator[str]:
    """What `forkpolicy check` says about the result."""
    yield from ("", "forkpolicy check says about it:" if diagnostics else "forkpolicy check finds no mistake in it.")
    for each in diagnostics:
        yield from (f"  {line}" for line in str(each).splitlines())


def show_answers(mails: Iterable[tuple[Mail, Answer]]) -> Iterator[str]:
    """The sample mails, and what becomes of each."""
    yield from ("", "What it decides:")
    for mail, answer in mails:
        login = f", signed in as {mail.login}" if mail.login else ""
        yield f"  {mail.title}: {mail.client}{login}, {mail.sender} to {mail.recipient}"
        yield f"    -> {printable(answer.reply)}"
        yield f"       {answer.rule}"


def show_next(
    steps: Steps, files: Mapping[str, str], there: Mapping[str, str], *, written: bool, again: str
) -> Iterator[str]:
    """The commands that follow. `again`: the options that were given."""
    changed = [name for name, text in files.items() if there.get(name) != text]
    replaced = [str(steps.place.directory / name) for name in changed if name in there]
    asking = [f"  {each}" for each in steps.postfix_commands()]
    if changed and not written:
        yield from ("", "Nothing was written. Next:", f"  forkpolicy init{again} --write")
        if replaced:
            yield f"That replaces {', '.join(replaced)}, each of which is kept as NAME.before-init."
        yield "After that:"
    else:
        yield from ("", "Next:")
    yield from (f"  {each}" for each in steps.start_commands())
    yield from ("Once `forkpolicy status` shows the workers, let Postfix ask:", *asking) if asking else ()
