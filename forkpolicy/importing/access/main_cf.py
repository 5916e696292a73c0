"""main.cf as text: parameters with their places. Reads no maps; what is not a parameter is a diagnostic."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.access.logical_lines import logical_lines, one_line
from forkpolicy.importing.access.macros import expand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.importing.access.logical_lines import Logical
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.source import SourceFile

_ASSIGNMENT: Final = re.compile(r"([^\s=]+)\s*=\s*")
# Of parameters that are not set: what the names of maps may be made of. The system's directory is main.cf's own.
_DEFAULTS: Final = {
    "default_database_type": "hash",
    "queue_directory": "/var/spool/postfix",
    "data_directory": "/var/lib/postfix",
    "recipient_delimiter": "",
    "smtpd_restriction_classes": "",
    "smtpd_null_access_lookup_key": "<>",
    "parent_domain_matches_subdomains": "smtpd_access_maps",
    "allow_untrusted_routing": "no",
    "access_map_reject_code": "554",
    "access_map_defer_code": "450",
    "reject_code": "554",
    "defer_code": "450",
}
SYSTEM_DIRECTORY: Final = "/etc/postfix"


class Parameter(NamedTuple):
    """One assignment; of two to one name the last counts. `begin`: where its value begins in the logical line."""

    name: str
    line: Logical
    begin: int

    @property
    def value(self) -> str:
        """As written, over its lines."""
        return self.line.text[self.begin :]


@dataclass
class MainCf:
    """The parameters of one file. `directory` is where it lies: what it calls /etc/postfix."""

    source: SourceFile
    parameters: dict[str, Parameter] = field(default_factory=dict)

    @property
    def directory(self) -> str:
        """The folder of the file."""
        return str(PurePath(self.source.path).parent)

    def look(self, name: str) -> str | None:
        """The unexpanded value of a parameter; None where only Postfix knows it."""
        if name in self.parameters:
            return self.parameters[name].value
        return SYSTEM_DIRECTORY if name == "config_directory" else _DEFAULTS.get(name)

    def expanded(self, text: str) -> str:
        """A text with the values of parameters. Raises ValueError."""
        return expand(text, self.look)

    def value(self, name: str) -> str:
        """The value of a parameter, in one line; empty where it is not known."""
        try:
            return one_line(self.expanded(self.look(name) or ""))
        except ValueError:
            return ""

    def path(self, name: str) -> str:
        """Where the file lies that main.cf names: below its own folder where main.cf was copied from /etc/postfix."""
        configured = self.value("config_directory") or SYSTEM_DIRECTORY
        if configured != self.directory and name.startswith(f"{configured}/"):
            return str(PurePath(self.directory, name[len(configured) + 1 :]))
        return name


def parse_main_cf(source: SourceFile, draft: Draft) -> MainCf:
    """The parameters; a line that is none is left out, with the reason."""
    main = MainCf(source)
    for line, found in _assignments(source):
        if found:
            main.parameters[found[1]] = Parameter(found[1], line, found.end())
        else:
            draft.leave_out(line.origin, one_line(line.text)[:60], "not a parameter: expected name = value")
    return main


def looks_like_main_cf(text: str) -> bool:
    """Whether the beginning of a file has the parameters of main.cf that are imported here."""
    return re.search(r"^(?:smtpd_\w+_restrictions|smtpd_restriction_classes)\s*=", text, re.MULTILINE) is not None


def _assignments(source: SourceFile) -> Iterator[tuple[Logical, re.Match[str] | None]]:
    for line in logical_lines(source):
        yield line, _ASSIGNMENT.match(line.text)
