"""What a compiled table looks like on disk: an LMDB file, information about itself, and a trailer with a digest.

    LMDB pages          sub-database `entries`; and `record`, one msgpack map under the key `record`: the information
    trailer, 64 bytes   magic, format version, byte order and word size, length of the LMDB part, SHA-256 of all before

A reader checks trailer and digest before LMDB maps a single page: a damaged map could kill a worker with SIGBUS or an
assertion of LMDB's, and no exception handler would see it. Hashing runs at 1.7 GB/s and without the interpreter lock.

An entry is msgpack `[index of its source, line, prefix length of a network or 0, value or None]`. Before one of a range
its first address stands: in tables of kind cidr, and of kind pair with a column of networks. In all kinds but cidr a
reader appends the key to what is stored, so that an entry in hand knows its key and the file holds each key once: two
thirds of the bytes are nine tenths of a look-up.

The content digest is of what a table says, keys and values, and of nothing that differs from host to host or from day
to day: order of the sources, their names and lines, the time. Its beginning is the table's version.

A release reads the files of the one before, so that it can take over with the tables that are there: version 2 had no
content digest, and what its trailer digests stands for it.

`TableError` says why a file cannot be used; nothing else leaves this module for a bad file.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

import msgpack

from forkpolicy.errors import TableError
from forkpolicy.tables.keys import network_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# The name of one of `kinds.KINDS`.
Kind = str

FORMAT_VERSION: Final = 3
READABLE_VERSIONS: Final = (2, FORMAT_VERSION)
SUFFIX: Final = ".lmdb"

ENTRIES_DB: Final = b"entries"
INFO_DB: Final = b"record"
INFO_KEY: Final = b"record"

# LMDB's compiled-in limit (MDB_MAXKEYSIZE); no domain (253) and no mail address (320) comes near it.
MAX_KEY_BYTES: Final = 511

# LMDB files use the byte order and word size of the machine that wrote them.
MACHINE: Final = f"{sys.byteorder[0]}{struct.calcsize('P') * 8}".encode("ascii").ljust(4)

# Between the columns of a key, and what stands in the place of a network whose range's last address is behind them.
COLUMN_SEPARATOR: Final = "\x1f"
NETWORK_HERE: Final = "\x1e"

# The first address of a range stands before its entry and begins with its family; msgpack arrays begin with 0x94.
FIRST_ADDRESS_BYTES: Final = {b"4": 5, b"6": 17}

# Compilers write the first two of an entry in one width: array of 4, uint8, uint32. The third is an uint8.
_PLACE_BYTES: Final = 8
_BEFORE_VALUE_BYTES: Final = _PLACE_BYTES + 2
# What begins a string of up to 31 bytes, as nearly every value is.
_SHORT: Final = range(0xA0, 0xC0)

_SHOWN_COLUMN: Final = re.compile(r'"[^"]*"|\S+')

MAGIC: Final = b"fkp-tbl\n"
_HEAD: Final = struct.Struct(">8sI4sQ8x")
TRAILER_BYTES: Final = _HEAD.size + hashlib.sha256().digest_size
_CHUNK_BYTES: Final = 1 << 20


class Traits(TypedDict, total=False):
    """What a table holds, so that look-ups may skip what it cannot hold."""

    # Of its `.parent` keys.
    wildcard_labels: list[int]
    # Of a table of addresses.
    forms: list[str]
    # The last day of the entry that expires first, as 2026-12-31.
    expires: str


@dataclass(frozen=True, slots=True)
class TableInfo:
    """What a table says about itself."""

    name: str
    kind: Kind
    source_digest: str
    entries: int
    created: float
    sources: tuple[str, ...]
    counts: dict[str, int] = field(default_factory=dict)
    traits: Traits = field(default_factory=Traits)
    # Hexadecimal, see above; empty in a file of version 2.
    content_digest: str = ""

    @property
    def expires(self) -> str:
        """The last day of the entry that expires first; empty where none does."""
        return self.traits.get("expires", "")

    def pack(self) -> bytes:
        """As it is stored."""
        packed: bytes = msgpack.packb(
            {
                "name": self.name,
                "kind": self.kind,
                "source_digest": self.source_digest,
                "entries": self.entries,
                "created": self.created,
                "sources": list(self.sources),
                "counts": self.counts,
                "traits": self.traits,
                "content_digest": self.content_digest,
            }
        )
        return packed

    @classmethod
    def unpack(cls, raw: bytes) -> TableInfo:
        """Raises TableError where the bytes are not what `pack` makes."""
        try:
            fields = msgpack.unpackb(raw)
            return cls(**{**fields, "sources": tuple(fields["sources"])})
        except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
            raise TableError(f"its information about itself cannot be read: {error}") from error


class Entry(NamedTuple):
    """One entry as people read it. `source` names its source; `line` counts from 1, 0 where there are no lines."""

    key: str
    value: str | None
    source: str
    line: int


def unpack_entry(raw: bytes, sources: tuple[str, ...]) -> Entry:
    """What a look-up found, as people read it."""
    skip = FIRST_ADDRESS_BYTES.get(raw[:1], 0)
    unpacker = msgpack.Unpacker(unicode_errors="surrogateescape")
    unpacker.feed(raw[skip:])
    source, line, length, value = unpacker.unpack()
    key, network = raw[skip + unpacker.tell() :], network_text(raw[:skip], length) if skip else ""
    # Behind the columns are a separator and an address.
    shown = network if skip and not key else shown_key(key[: -skip - 1] if skip else key, network)
    return Entry(shown, value, sources[source] if 0 <= source < len(sources) else "", line)


def shown_key(key: bytes, network: str = "") -> str:
    """A key as people read it: `network` in the place of NETWORK_HERE; one of several columns in quotes where it has
    blanks.
    """
    words = key.decode("utf-8", "surrogateescape").replace(NETWORK_HERE, network).split(COLUMN_SEPARATOR)
    return " ".join(f'"{word}"' if " " in word else word or "*" for word in words) if len(words) > 1 else words[0]


def shown_columns(key: str) -> list[str]:
    """The columns of an entry's key as people read it."""
    return [word.strip('"') for word in _SHOWN_COLUMN.findall(key)]


def unpack_value(raw: bytes) -> str | None:
    """The value alone of what a look-up found: a tenth of the time of the whole entry."""
    at = FIRST_ADDRESS_BYTES.get(raw[:1], 0) + _BEFORE_VALUE_BYTES
    begin = raw[at]
    if begin in _SHORT:
        return raw[at + 1 : at + 1 + begin - _SHORT.start].decode("utf-8", "surrogateescape")
    unpacker = msgpack.Unpacker(unicode_errors="surrogateescape")
    unpacker.feed(raw[at:])
    value: str | None = unpacker.unpack()
    return value


def prefix_length_of(raw: bytes) -> int:
    """The prefix length of a range's entry."""
    return raw[FIRST_ADDRESS_BYTES[raw[:1]] + _BEFORE_VALUE_BYTES - 1]


def first_key(key: bytes, raw: bytes) -> bytes:
    """What of a table's key order an entry begins with: a range at its first address."""
    skip = FIRST_ADDRESS_BYTES.get(raw[:1], 0)
    return key[:-skip] + raw[:skip] if skip else key


def pack_value(value: str | None) -> bytes:
    """The value as the last part of an entry; compilers build the other parts themselves, see above."""
    packed: bytes = msgpack.packb(value, unicode_errors="surrogateescape")
    return packed


class ContentDigest:
    """The digest of a table's content, while its entries come in key order."""

    def __init__(self, kind: Kind) -> None:
        self._digest = hashlib.sha256(f"{kind}\0".encode("ascii"))

    def add(self, batch: Iterable[tuple[bytes, bytes]]) -> None:
        """Keys and stored entries. Of each entry the source and the line are left out."""
        pieces: list[bytes] = []
        for key, raw in batch:
            skip = FIRST_ADDRESS_BYTES.get(raw[:1], 0)
            # The length of the key must be there; that of what follows is in its first byte or in msgpack.
            pieces += (b"%d:" % len(key), key, raw[:skip], raw[skip + _PLACE_BYTES :])
        self._digest.update(b"".join(pieces))

    def hexdigest(self) -> str:
        """What it is so far."""
        return self._digest.hexdigest()


class Trailer(NamedTuple):
    """The verified end of a table file."""

    lmdb_bytes: int
    digest: str


def ends_as_table(path: Path) -> bool:
    """Whether a file ends with the trailer of a table, whatever its version and what stands before. Raises OSError."""
    # Without waiting for a pipe: the name may be another user's to change.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TRAILER_BYTES))
        return file.read().startswith(MAGIC)


def seal(fd: int, lmdb_bytes: int) -> Trailer:
    """Cut the file behind its LMDB pages and append the trailer. The caller syncs. Raises OSError."""
    os.ftruncate(fd, lmdb_bytes)
    head = _HEAD.pack(MAGIC, FORMAT_VERSION, MACHINE, lmdb_bytes)
    digest = _digest(fd, lmdb_bytes, head)
    end = memoryview(head + digest)
    while end:
        end = end[os.pwrite(fd, end, lmdb_bytes + TRAILER_BYTES - len(end)) :]
    return Trailer(lmdb_bytes, digest.hex())


def verify(fd: int) -> Trailer:
    """Read the whole file once and check that it is the one that was written.

    Takes 0.6 s per GB, with the interpreter lock released: a worker calls this in a thread. Raises TableError.
    """
    try:
        size = os.fstat(fd).st_size
        end = os.pread(fd, TRAILER_BYTES, max(0, size - TRAILER_BYTES))
        lmdb_bytes = _check_head(end, size)
        digest = _digest(fd, lmdb_bytes, end[: _HEAD.size])
    except OSError as error:
        raise TableError(f"cannot be read: {error.strerror or error}") from error
    if digest != end[_HEAD.size :]:
        raise TableError("is damaged: its content does not have the digest that it was written with")
    return Trailer(lmdb_bytes, digest.hex())


def _check_head(end: bytes, size: int) -> int:
    if size == 0:
        raise TableError("is empty (0 bytes)")
    if len(end) < TRAILER_BYTES or not end.startswith(MAGIC):
        raise TableError("is damaged or not a forkpolicy table: it was truncated, or written by another program")
    _, version, machine, lmdb_bytes = _HEAD.unpack(end[: _HEAD.size])
    if version not in READABLE_VERSIONS:
        known = " and ".join(str(each) for each in READABLE_VERSIONS)
        raise TableError(f"has format {version}, this forkpolicy reads {known}: compile it again")
    if machine != MACHINE:
        raise TableError(
            f"was written on a {_machine_text(machine)} machine, this one is {_machine_text(MACHINE)}: compile it here"
        )
    if lmdb_bytes + TRAILER_BYTES != size:
        raise TableError(f"is damaged: {size} bytes long where {lmdb_bytes + TRAILER_BYTES} were written")
    return int(lmdb_bytes)


def _machine_text(machine: bytes) -> str:
    text = machine.decode("ascii", "replace").strip()
    return f"{text[1:]}-bit {'little' if text[:1] == 'l' else 'big'}-endian"


def _digest(fd: int, length: int, head: bytes) -> bytes:
    digest = hashlib.sha256()
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    at = 0
    while at < length:
        got = os.preadv(fd, [view[: min(_CHUNK_BYTES, length - at)]], at)
        if not got:
            raise TableError("is damaged: it ends too early")
        digest.update(view[:got])
        at += got
    digest.update(head)
    return digest.digest()
