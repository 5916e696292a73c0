"""`mmdb:PATH[#FIELD]`: the networks of a MaxMind database (GeoLite2, DB-IP ...), each with one field as its value.

FIELD is a path into the record, `country.names.en`. Without it the database's own type decides: what calls itself ASN
or ISP has `autonomous_system_number`, everything else `country.iso_code`. A network whose record lacks the field has no
entry. The file is read into memory once, so whoever replaces or overwrites it meanwhile ends no compile.

maxminddb checks the file and decodes records, in Python: its C extension was seen to end the process over a damaged
file. The search tree is walked here, by the published format (2.0), since maxminddb's iteration leaves networks out and
refuses others (findings/maxminddb-iterates-past-networks.sh). IPv4 is `::/96` of an IPv6 tree; where the tree leads
there once more (`::ffff:0:0/96`, 6to4, Teredo), the networks are not listed again.

An optional extra (`pip install 'forkpolicy[mmdb]'`), imported when a table needs it. ValueError says what is wrong.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from forkpolicy.tables.keys import WIDEST_V4, WIDEST_V6
from forkpolicy.tables.rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

OfMaxminddb = Any  # optional: a type checker may run without it

EXPECTED: Final = "expected mmdb:PATH or mmdb:PATH#FIELD, such as mmdb:GeoLite2-Country.mmdb#country.iso_code"
IPV4_ALONE: Final = "the database has IPv4 networks alone: clients with an IPv6 address have no entry"
COUNTRY: Final = "country.iso_code"
ASN: Final = "autonomous_system_number"
# As the `database_type` of MaxMind, DB-IP and others has them: GeoLite2-ASN, GeoIP2-ISP, DBIP-ASN-Lite.
_TYPES_OF_ASN: Final = ("asn", "isp")
# What separates the tree from the data: so many zeros.
_SEPARATOR: Final = bytes(16)
_MAPPED: Final = 0xFFFF
_MAX_FIELDS_SHOWN: Final = 12


class Network(NamedTuple):
    """A network of the tree: its first address, and whose record it has. `bits`: 32 or 128."""

    first: int
    length: int
    bits: int
    pointer: int


@dataclass(slots=True)
class MmdbSource:
    """One field of one database. `digest`: of the file, when all rows are listed."""

    name: str
    path: Path
    field_path: str
    warnings: list[str] = field(default_factory=list)
    digest: bytes = b""

    def rows(self) -> Iterator[Row]:
        """Each network that has the field. Raises ValueError, OSError."""
        database = self._open()
        self.digest = database.digest
        if database.has_ipv4_alone:
            self.warnings.append(IPV4_ALONE)
        yield from database.rows(self.field_path)

    def read_digest(self) -> bytes:
        """What `digest` would be, without listing anything. Raises ValueError, OSError."""
        return _digest_of(_read(self.path))

    def check(self) -> str:
        """What an administrator should know before a compile; empty: nothing. Raises ValueError, OSError."""
        return IPV4_ALONE if self._open().has_ipv4_alone else ""

    def _open(self) -> _Database:
        return _Database(_read(self.path), self.path)


class _Database:
    """A database in memory."""

    def __init__(self, content: bytes, path: Path) -> None:
        """Raises ValueError where it is not one, or not all of one."""
        self.digest = _digest_of(content)
        self._path = path
        library = _import_maxminddb()
        if not content:
            raise ValueError(f"{path} is empty: most often a download failed")
        self._damage = library.InvalidDatabaseError
        try:
            self._reader: OfMaxminddb = library.open_database(io.BytesIO(content), library.MODE_FD)
            self._metadata: OfMaxminddb = self._reader.metadata()
            self._tree = _Tree(content, self._metadata)
        except Exception as error:
            # Whatever damaged bytes make of the library's decoder: nothing is read but what we have given it.
            raise ValueError(f"{path} is damaged, half a file, or not a MaxMind database") from error

    @property
    def has_ipv4_alone(self) -> bool:
        """Whether it knows nothing about IPv6."""
        return bool(self._metadata.ip_version == 4)

    def rows(self, field_path: str) -> Iterator[Row]:
        """Networks in order, with the field's value. Raises ValueError."""
        path = field_path or self._default_field()
        values: dict[int, str | None] = {}
        for network in self._tree.networks():
            pointer = network.pointer
            if pointer not in values:
                values[pointer] = _text(self._record(network), path)
            value = values[pointer]
            if value is not None:
                for text in _texts(network):
                    yield Row(text, value)
        if values and not any(value is not None for value in values.values()):
            raise ValueError(self._without_field(path))

    def _default_field(self) -> str:
        kind = str(self._metadata.database_type).lower()
        return ASN if any(each in kind for each in _TYPES_OF_ASN) else COUNTRY

    def _record(self, network: Network) -> object:
        address = (IPv4Address if network.bits == 32 else IPv6Address)(network.first)
        try:
            return self._reader.get(address)
        except Exception as error:
            raise ValueError(f"{self._path} is damaged: the record of {address} cannot be decoded") from error

    def _without_field(self, path: str) -> str:
        record = self._record(next(self._tree.networks()))
        have = ", ".join(list(_paths(record))[:_MAX_FIELDS_SHOWN])
        return (
            f"no network of this database ({self._metadata.database_type}) has the field {path}: name another one, "
            f"mmdb:PATH#FIELD; the first record has {have or 'no field'}"
        )


class _Tree:
    """The search tree: nodes of two records, each another node, nothing, or a pointer to data."""

    def __init__(self, content: bytes, metadata: OfMaxminddb) -> None:
        """Raises ValueError where the tree is not whole."""
        self._count: int = metadata.node_count
        self._bits = 128 if metadata.ip_version == 6 else 32
        size = metadata.record_size * 2 // 8
        self._node = _READERS[metadata.record_size](content)
        end = self._count * size
        if content[end : end + len(_SEPARATOR)] != _SEPARATOR:
            raise ValueError("the tree has no end")
        self._ipv4 = self._ipv4_start()

    def networks(self) -> Iterator[Network]:
        """Every network with data, in the order of addresses, those of IPv4 as such. Raises ValueError."""
        count, bits, node_at, ipv4 = self._count, self._bits, self._node, self._ipv4
        visits, todo = 0, [(0, 0, 0)]
        while todo:
            node, first, length = todo.pop()
            if node > count:
                yield from self._networks_of_leaf(first, length, node)
            elif node < count and not ((node == ipv4 or length == 96) and self._is_alias(node, first)):
                visits += 1
                if visits > count or length == bits:
                    raise ValueError("the database is damaged: its search tree leads back into itself")
                left, right = node_at(node)
                length += 1
                todo.append((right, first | 1 << (bits - length), length))
                todo.append((left, first, length))

    def _networks_of_leaf(self, first: int, length: int, pointer: int) -> tuple[Network, ...]:
        """One, most often. IPv4 has what is at `::/96`, be it this leaf or a shorter one."""
        if self._bits == 32:
            return (Network(first, length, 32, pointer),)
        if length >= 96 and first >> 32 in (0, _MAPPED):
            return () if first >> 32 else (Network(first, length - 96, 32, pointer),)
        network = Network(first, length, 128, pointer)
        return (network,) if first else (Network(0, 0, 32, pointer), network)

    def _is_alias(self, node: int, first: int) -> bool:
        """Whether IPv4 is here once more. A mapped address is asked for as IPv4, so nobody comes to what is there."""
        return first != 0 and (node == self._ipv4 or first >> 32 == _MAPPED)

    def _ipv4_start(self) -> int:
        """The node of `::/96` in a tree of IPv6."""
        node = 0
        for _ in range(96 if self._bits == 128 else 0):
            if node >= self._count:
                break
            node = self._node(node)[0]
        return node or -1


def _node_of_24(content: bytes) -> Callable[[int], tuple[int, int]]:
    def node(number: int) -> tuple[int, int]:
        both = int.from_bytes(content[number * 6 : number * 6 + 6], "big")
        return both >> 24, both & 0xFFFFFF

    return node


def _node_of_28(content: bytes) -> Callable[[int], tuple[int, int]]:
    def node(number: int) -> tuple[int, int]:
        # The byte in the middle has the upper four bits of the left record, then those of the right one.
        both = int.from_bytes(content[number * 7 : number * 7 + 7], "big")
        return both >> 32 | (both >> 4 & 0xF000000), both & 0xFFFFFFF

    return node


def _node_of_32(content: bytes) -> Callable[[int], tuple[int, int]]:
    def node(number: int) -> tuple[int, int]:
        both = int.from_bytes(content[number * 8 : number * 8 + 8], "big")
        return both >> 32, both & 0xFFFFFFFF

    return node


# By the size of a record in bits.
_READERS: Final = {24: _node_of_24, 28: _node_of_28, 32: _node_of_32}


def _texts(network: Network) -> list[str]:
    """A network as a source has it; one that is wider than an entry may be, as several: it is not a slip here."""
    first, length, bits, _ = network
    family, widest, size = (AF_INET, WIDEST_V4, 4) if bits == 32 else (AF_INET6, WIDEST_V6, 16)
    if length >= widest:
        return [f"{inet_ntop(family, first.to_bytes(size, 'big'))}/{length}"]
    firsts = range(first, first + (1 << (bits - length)), 1 << (bits - widest))
    return [f"{inet_ntop(family, each.to_bytes(size, 'big'))}/{widest}" for each in firsts]


def _text(record: object, path: str) -> str | None:
    """The field of a record; None where it has none. Raises ValueError where the field is not one value."""
    for part in path.split("."):
        if isinstance(record, list) and part.isdecimal() and int(part) < len(record):
            record = record[int(part)]
        elif isinstance(record, dict) and part in record:
            record = record[part]
        else:
            return None
    if isinstance(record, dict | list):
        have = ", ".join(list(_paths(record, path))[:_MAX_FIELDS_SHOWN])
        # Of the operator's FIELD, not of a type in the code.
        raise ValueError(f"the field {path} is not one value: name one of {have}")  # noqa: TRY004
    if isinstance(record, bool):
        return str(record).lower()
    return " ".join(str(record).split()) or None


def _paths(record: object, above: str = "") -> Iterator[str]:
    """All fields of a record."""
    parts = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for name, value in parts:
        path = f"{above}.{name}" if above else str(name)
        if isinstance(value, dict | list):
            yield from _paths(value, path)
        else:
            yield path


def _read(path: Path) -> bytes:
    """All of a file, as it was at one time. Raises ValueError, OSError."""
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        content = file.read()
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ValueError(f"{path} has changed while it was read: compile again")
    return content


def _digest_of(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _import_maxminddb() -> ModuleType:
    try:
        import maxminddb  # noqa: PLC0415 - optional
    except ImportError as error:
        message = "mmdb sources need maxminddb, which is not installed: pip install 'forkpolicy[mmdb]'"
        raise ValueError(message) from error
    return maxminddb


def open_source(argument: str, base: Path) -> MmdbSource:
    """The source of `PATH[#FIELD]`. Raises ValueError."""
    path, mark, field_path = argument.partition("#")
    if not path or (mark and not all(field_path.split("."))):
        raise ValueError(EXPECTED)
    return MmdbSource(f"mmdb:{base / path}{mark}{field_path}", base / path, field_path)
