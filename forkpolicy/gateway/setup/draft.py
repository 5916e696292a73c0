"""What setup would write: every file as it is and as it would be. Reads files and asks postconf(1), which edits a
temporary copy of main.cf and master.cf; writes nothing else.

Raises ConfigError for a mistake in the domains file and for files that cannot be read, PostconfError.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.files import Files
from forkpolicy.gateway.domains import parse_domains
from forkpolicy.gateway.setup.policy_text import POLICY_FILE, policy_files, settings_text
from forkpolicy.gateway.setup.postfix_text import (
    header_checks,
    main_parameters,
    master_services,
    postfix_files,
)
from forkpolicy.gateway.setup.rspamd_text import rspamd_files
from forkpolicy.postfix import postconf
from forkpolicy.postfix.lists import split_list
from forkpolicy.replaced_files import read_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.gateway.domains import Domain
    from forkpolicy.gateway.setup.place import GatewayPlace

_POSTFIX_FILES: Final = ("main.cf", "master.cf")
# Lists of Postfix that must not have a domain that is relayed.
_LOCAL_LISTS: Final = ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains")


@dataclass(slots=True)
class Draft:
    """By directory: texts by name as they are (`there`), and as they would be (`files`)."""

    domains: list[Domain]
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    there: dict[str, dict[str, str]] = field(default_factory=dict)
    warnings: list[Diagnostic] = field(default_factory=list)

    def changed(self, directory: str) -> list[str]:
        """The names of the files of a directory that would change."""
        there = self.there[directory]
        return [name for name, text in self.files[directory].items() if there.get(name) != text]


def draft(place: GatewayPlace) -> Draft:
    """Everything, by the domains file of that place."""
    raw = Files().read(place.domains)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError([Diagnostic(place.domains, 0, 0, "is not UTF-8: save the file as UTF-8")]) from error
    made = Draft(parse_domains(place.domains, text))
    _take(made, place.postfix, {**_edited(made.domains, place), **postfix_files(made.domains)})
    _take(made, place.rspamd, rspamd_files(made.domains, place))
    _take(
        made, place.forkpolicy, {**policy_files(made.domains, place), Path(place.settings).name: settings_text(place)}
    )
    # These are the administrator's once they are there.
    for name in (POLICY_FILE, Path(place.settings).name):
        if name in made.there[place.forkpolicy]:
            del made.files[place.forkpolicy][name]
    made.warnings += _warnings(made.domains, place)
    return made


def _take(made: Draft, directory: str, files: dict[str, str]) -> None:
    made.files[directory] = files
    made.there[directory] = read_texts(Path(directory), files)


def _edited(domains: Sequence[Domain], place: GatewayPlace) -> dict[str, str]:
    """main.cf and master.cf, edited by postconf itself in a copy: it keeps comments and what else is there."""
    with tempfile.TemporaryDirectory(prefix="forkpolicy-") as copy:
        for name in _POSTFIX_FILES:
            try:
                shutil.copyfile(Path(place.postfix) / name, Path(copy) / name)
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                hint = "configure Postfix first, as an Internet site: dpkg-reconfigure postfix; or give its directory"
                path = str(Path(place.postfix) / name)
                raise ConfigError([Diagnostic(path, 0, 0, f"cannot be read: {why}", hint=hint)]) from error
        for name, value in main_parameters(domains, place).items():
            postconf.change(copy, "-e", f"{name}={value}")
        before = postconf.parameter(copy, "header_checks")
        postconf.change(copy, "-e", f"header_checks={header_checks(before, place)}")
        for name, line in master_services(place).items():
            postconf.change(copy, "-M", f"{name}={line}")
        return {name: (Path(copy) / name).read_text("utf-8", "surrogateescape") for name in _POSTFIX_FILES}


def _warnings(domains: Sequence[Domain], place: GatewayPlace) -> list[Diagnostic]:
    """Domains that Postfix would deliver here itself."""
    ours = {each.name for each in domains}
    listed = postconf.listing(place.postfix, "-x")
    values = dict(line.partition(" = ")[::2] for line in listed.splitlines())
    found = []
    for parameter in _LOCAL_LISTS:
        for name in split_list(values.get(parameter, "")):
            if name.lower() in ours:
                message = f"{parameter} has {name}: Postfix delivers its mail here, and relays none of it"
                hint = f"take it out of {parameter}"
                path = str(Path(place.postfix) / "main.cf")
                found.append(Diagnostic(path, 0, 0, message, hint=hint, severity="warning"))
    return found
