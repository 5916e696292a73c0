"""The lists of a Postfix that say what is local, domains and networks: what they have, and what cannot be listed.

A list whose members can all be listed is followed: the table has the source `postconf:`. What else can be listed goes
into a file, and each member that cannot is a problem, in words. Runs postconf(1) and postmap(1). Raises nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.sources.postconf import PostconfSource
from forkpolicy.errors import ConfigError
from forkpolicy.postfix.lists import split_list
from forkpolicy.postfix.maps import split_map
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.kinds.kind import SourceKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.tables.kinds.kind import TableKind

MAILBOXES: Final = ("mydestination", "virtual_mailbox_domains", "virtual_alias_domains")
RELAYED: Final = "relay_domains"
NETWORKS: Final = "mynetworks"
_LOCALHOST: Final = re.compile(r"localhost(\..*)?")
_ASKED: Final = ("mysql", "pgsql", "sqlite", "ldap")


@dataclass(frozen=True, slots=True)
class Listed:
    """One parameter: its expanded value, the members that could be listed, and those that could not, in words."""

    parameter: str
    value: str
    entries: tuple[str, ...]
    problems: tuple[str, ...]
    followed: bool

    @property
    def names(self) -> list[str]:
        """The domains that are not this machine's localhost."""
        return [each for each in self.entries if "." in each.strip(".") and not _LOCALHOST.fullmatch(each.lower())]


def read_domains(parameter: str, parameters: Mapping[str, str], *, can_follow: bool) -> Listed:
    """A list of domains. `can_follow`: `postconf:` sources read this very Postfix."""
    return _listed(parameter, parameters.get(parameter, ""), KINDS["domain"], can_follow=can_follow)


def read_networks(parameters: Mapping[str, str], *, can_follow: bool) -> Listed:
    """The networks that Postfix trusts."""
    return _listed(NETWORKS, parameters.get(NETWORKS, ""), KINDS["cidr"], can_follow=can_follow)


def _listed(parameter: str, value: str, kind: TableKind, *, can_follow: bool) -> Listed:
    if not value:
        return Listed(parameter, "", (), (), followed=False)
    problems: list[str] = []
    entries = tuple(dict.fromkeys(_usable(PostconfSource(f"postconf:{parameter}", parameter, kind), kind, problems)))
    return Listed(parameter, value, entries, tuple(problems), followed=can_follow and not problems and bool(entries))


def _usable(source: PostconfSource, kind: TableKind, problems: list[str]) -> Iterator[str]:
    """The members that a table can hold."""
    try:
        for row in source.rows():
            try:
                kind.sort_keys(SourceKey(row.key, "", _ignore))
                yield row.key
            except ValueError as error:
                problems.append(f"{row.key}: {error}")
    except ConfigError as error:
        problems += [each.message for each in error.diagnostics]
    except ValueError as error:
        problems.append(str(error))


def _ignore(_note: str) -> None:
    """The compile says it."""


def queries_of(listed: Listed) -> Iterator[tuple[str, str]]:
    """What the databases of a list are asked: (map, the line of its file). Never a password: only these lines."""
    for word in split_list(listed.value):
        kind, path = split_map(word)
        if kind not in _ASKED or not path.startswith("/"):
            continue
        try:
            lines = Path(path).read_text(errors="replace").splitlines()
        except OSError:
            continue
        found = next((line for line in lines if re.match(r"(query|query_filter)\s*=", line)), "")
        if found:
            yield word.removeprefix("proxy:"), found.strip()
