"""Names and networks that a list from elsewhere must never contain: those of --protect and, in a feed, our own.

Feeds turn hostile by mistake: gmail.com in a list of throw-away domains, 0.0.0.0/0 in a block list, one's own network
in either. A protected network refuses every cidr table with an entry inside it or around it; a protected name refuses
every domain or address table that has an entry for it or for a mail address of it, and `.name` also what is below it.
A key table is looked at word by word and one of pairs column by column: which are names, mail addresses, addresses of
machines and networks. `user@`, which names no domain, is never looked at. Our own are those of the compiled tables
local_networks and local_domains, and of tables from this machine's interfaces or from parameters of Postfix. Raises
UsageError and ConfigError, of the two constructors alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.lines import split_line
from forkpolicy.compile.sources.registry import is_of_kernel, is_of_postfix
from forkpolicy.errors import ConfigError, Diagnostic, TableError, UsageError
from forkpolicy.files import Files
from forkpolicy.tables import keys, names
from forkpolicy.tables.format import FIRST_ADDRESS_BYTES
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.reader import open_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.compile.directory import TablesDirectory
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.tables.format import Entry
    from forkpolicy.tables.reader import Table

_MAX_DIAGNOSTICS: Final = 50

# As the shipped policy and the manual name them.
_OWN_NAMES: Final = ("local_networks", "local_domains")
OWN_HINT: Final = "a list from elsewhere must not have our own networks and names; --allow-own accepts them"
UNPROTECTED: Final = "its list comes from elsewhere, and no compiled table of our own networks and names protects it"
UNPROTECTED_HINT: Final = "declare local_networks and local_domains as the shipped policy does, or use --protect FILE"

# A network, and where it is said.
_Protected = tuple[keys.IpRange, str]


def own_tables(declared: Sequence[TableDeclaration]) -> tuple[str, ...]:
    """The names of the tables that have our own networks and names."""
    return tuple(
        each.name
        for each in declared
        if each.name in _OWN_NAMES or any(is_of_kernel(word) or is_of_postfix(word) for word in each.sources)
    )


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
            _add(_texts_of(word, directory), networks, hosts)
            if len(networks) + len(hosts) == before:
                raise UsageError(f"--protect {word}: it is empty, so nothing would be protected")
        return cls(tuple(networks), tuple(hosts))

    @classmethod
    def of_tables(cls, tables: tuple[str, ...], directory: TablesDirectory, leaving_out: str) -> Protection:
        """From compiled tables, where they exist; they may be empty. Raises UsageError, ConfigError."""
        networks: list[_Protected] = []
        hosts: list[tuple[str, str]] = []
        for name in tables:
            if name != leaving_out and directory.table(name).exists():
                _add(_texts_of_table(name, directory), networks, hosts)
        return cls(tuple(networks), tuple(hosts))

    @property
    def is_empty(self) -> bool:
        """Whether it protects nothing."""
        return not (self.networks or self.hosts)

    def diagnostics(self, table: Table, hint: str = "") -> list[Diagnostic]:
        """The entries of a table that must not be there, each as an error."""
        found: dict[Entry, Diagnostic] = {}
        if not (self.networks or self.hosts):
            # Walking a table takes as long as compiling it.
            return []
        search = self._protected_networks_in if KINDS[table.kind].stores_ranges else self._protected_hosts_in
        for raw, what in search(table):
            # A network that others are nested in stands in several ranges.
            entry = table.entry(raw)
            found.setdefault(entry, _diagnostic(entry, what, hint))
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
        kind = KINDS[table.kind]
        for key, raw in table.entries():
            text = table.entry(raw).key if kind.columns else key.decode("utf-8", "replace")
            for word in kind.words(text):
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
        """The network around what may be an address, or one that has to do with what may be a network."""
        first, last = _range_of(text)
        at = bisect_right(self._firsts, last) - 1
        return self._furthest[at] if at >= 0 and first and self._furthest[at][0][1] >= first else None


def _range_of(text: str) -> tuple[bytes, bytes]:
    """First and last address of what may be an address or a network; empty where it is neither."""
    address = keys.ip_key(text)
    if address:
        return address, address
    try:
        return keys.parse_network(text, allow_wide=True) if "/" in text else (b"", b"")
    except ValueError:
        return b"", b""


def _diagnostic(entry: Entry, what: str, hint: str) -> Diagnostic:
    return Diagnostic(entry.source, entry.line, 0, f"{entry.key} must not be in this table: {what}", hint=hint)


def _add(placed: Iterator[tuple[str, str]], networks: list[_Protected], hosts: list[tuple[str, str]]) -> None:
    """Sort (text, place) into networks and names. Raises ConfigError."""
    for text, place in placed:
        try:
            networks += [(each, place) for each in keys.parse_network_spec(text)]
        except ValueError as error:
            # A mistyped address must not be protected as a name.
            if "/" in text or names.NUMERIC_TOP.search(text):
                raise ConfigError([Diagnostic(place, 0, 0, str(error))]) from error
            hosts.append((_host_of(text, place), place))


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
