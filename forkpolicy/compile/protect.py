"""--protect: names and networks that a list from elsewhere must never contain.

Feeds turn hostile by mistake: gmail.com in a list of throw-away domains, 0.0.0.0/0 in a block list, one's own network
in either. A protected network refuses every cidr table with an entry inside it or around it; a protected name refuses
every domain or address table that has an entry for it or for a mail address of it, and `.name` also what is below it.
A key table is looked at word by word: which are names, mail addresses and addresses of machines. `user@`, which
names no domain, is never looked at. Raises UsageError and ConfigError, of Protection.load alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.lines import split_line
from forkpolicy.errors import ConfigError, Diagnostic, TableError, UsageError
from forkpolicy.files import Files
from forkpolicy.tables import keys, names
from forkpolicy.tables.format import FIRST_ADDRESS_BYTES
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.reader import open_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.compile.directory import TablesDirectory
    from forkpolicy.tables.reader import Table

_MAX_DIAGNOSTICS: Final = 50

# A network, and where it is said.
_Protected = tuple[keys.IpRange, str]


@dataclass(frozen=True, slots=True)
class Protection:
    """What must not be in a table, each with where it is said."""

    networks: tuple[_Protected, ...]
    hosts: tuple[tuple[str, str], ...]

    @classmethod
    def load(cls, words: tuple[str, ...], directory: TablesDirectory, leaving_out: str = "") -> Protection:
        """From files, or from compiled tables by name. Raises UsageError, ConfigError."""
        networks: list[_Protected] = []
        hosts: list[tuple[str, str]] = []
        for word in words:
            if word == leaving_out:
                continue
            before = len(networks) + len(hosts)
            for text, place in _texts_of(word, directory):
                try:
                    networks += [(each, place) for each in keys.parse_network_spec(text)]
                except ValueError as error:
                    # A mistyped address must not be protected as a name.
                    if "/" in text or names.NUMERIC_TOP.search(text):
                        raise ConfigError([Diagnostic(place, 0, 0, str(error))]) from error
                    hosts.append((_host_of(text, place), place))
            if len(networks) + len(hosts) == before:
                raise UsageError(f"--protect {word}: it is empty, so nothing would be protected")
        return cls(tuple(networks), tuple(hosts))

    def diagnostics(self, table: Table) -> list[Diagnostic]:
        """The entries of a table that must not be there, each as an error."""
        found: dict[bytes, Diagnostic] = {}
        search = self._protected_networks_in if KINDS[table.kind].stores_ranges else self._protected_hosts_in
        for raw, what in search(table):
            found.setdefault(raw, _diagnostic(table, raw, what))
            if len(found) == _MAX_DIAGNOSTICS:
                break
        return list(found.values())

    def _protected_networks_in(self, table: Table) -> Iterator[tuple[bytes, str]]:
        for (first, last), place in self.networks:
            for _, raw in table.entries_from(first):
                if raw[: FIRST_ADDRESS_BYTES[raw[:1]]] > last:
                    break
                yield raw, f"{keys.range_text(first, last)} is protected ({place})"

    def _protected_hosts_in(self, table: Table) -> Iterator[tuple[bytes, str]]:
        yield from self._answers_of(table)
        # A table of domains alone names no more than it answers for, but below a domain.
        if not KINDS[table.kind].has_domains_alone or any(host.startswith(".") for host, _ in self.hosts):
            yield from self._named_in(table)

    def _answers_of(self, table: Table) -> Iterator[tuple[bytes, str]]:
        """What a table says of protected names themselves."""
        for host, place in self.hosts:
            # Look up what is protected, as a request would bring it; `x` stands for any name below `.name`.
            question = KINDS[table.kind].question_about(f"x{host}" if host.startswith(".") else host)
            raw = table.find(question) if question is not None else None
            if raw:
                yield raw, f"{host} is protected ({place})"

    def _named_in(self, table: Table) -> Iterator[tuple[bytes, str]]:
        """What the entries of a table name that is protected, or below it."""
        hosts, around = dict(self.hosts), _Around(self.networks)
        for key, raw in table.entries():
            text = key.decode("utf-8", "replace")
            for word in KINDS[table.kind].words(text):
                name = keys.fold_domain(word.rpartition("@")[2])
                host = next((each for each in (name, *keys.parent_keys(name)) if each in hosts), None)
                if host:
                    yield raw, f"{host} is protected ({hosts[host]})"
                elif around and (network := around.find(name)):
                    (first, last), place = network
                    yield raw, f"{keys.range_text(first, last)} is protected ({place})"


def _further(one: _Protected, other: _Protected) -> _Protected:
    return other if other[0][1] > one[0][1] else one


class _Around:
    """Which of many networks is around an address; they may overlap."""

    def __init__(self, networks: tuple[_Protected, ...]) -> None:
        ordered = sorted(networks)
        self._firsts = [first for (first, _), _ in ordered]
        # Of all that begin no later, the one that reaches furthest.
        self._furthest = list(accumulate(ordered, _further))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def find(self, text: str) -> _Protected | None:
        """The network around what may be an address."""
        address = keys.ip_key(text)
        at = bisect_right(self._firsts, address) - 1 if address else -1
        if at < 0 or not address or self._furthest[at][0][1] < address:
            return None
        return self._furthest[at]


def _diagnostic(table: Table, raw: bytes, what: str) -> Diagnostic:
    entry = table.entry(raw)
    return Diagnostic(entry.source, entry.line, 0, f"{entry.key} must not be in this table: {what}")


def _host_of(text: str, place: str) -> str:
    try:
        return names.parse_host_pattern(text.removeprefix("@"))
    except ValueError as error:
        raise ConfigError([Diagnostic(place, 0, 0, f"neither a network nor a name: {error}")]) from error


def _texts_of(word: str, directory: TablesDirectory) -> Iterator[tuple[str, str]]:
    """(text, place) of everything that one --protect names."""
    if "/" not in word and directory.table(word).exists():
        yield from _texts_of_table(word, directory)
    elif Path(word).exists():
        yield from _texts_of_file(word)
    else:
        raise UsageError(f"--protect {word}: neither a file nor a compiled table")


def _texts_of_table(name: str, directory: TablesDirectory) -> Iterator[tuple[str, str]]:
    table = _open_any_kind(str(directory.table(name)), name)
    try:
        for _, raw in table.entries():
            entry = table.entry(raw)
            if "@" not in entry.key and entry.key != keys.NULL_SENDER:
                yield entry.key, f"{entry.source}:{entry.line}" if entry.line else entry.source
    finally:
        table.close()


def _open_any_kind(path: str, name: str) -> Table:
    reason = ""
    for kind in KINDS:
        try:
            return open_table(path, name, kind)
        except TableError as error:
            reason = str(error)
    raise UsageError(f"--protect {name}: {reason}")


def _texts_of_file(path: str) -> Iterator[tuple[str, str]]:
    # Not splitlines: Latin-1 has line ends that are parts of letters in UTF-8.
    lines = re.split(r"\r\n?|\n", Files().read(path).removeprefix(b"\xef\xbb\xbf").decode("latin-1"))
    for number, line in enumerate(lines, 1):
        try:
            items = split_line(line)
        except ValueError as error:
            raise ConfigError([Diagnostic(path, number, 0, str(error), line)]) from error
        for item in items:
            yield item.key, f"{path}:{number}"
