"""The interface of every store, and the head that every record begins with.

A store is asked with questions (questions/): the question holds the whole semantics as one pure step over records, the
store only runs it in one transaction on its clock. So two stores give the same answers.

A record begins with a format byte and the time at which it expires, in whole seconds since 1970 (`HEAD`, which the Lua
of an engine can unpack: little endian, not aligned). An expired record is not a record any more, whether it has been
swept or not; neither is one of an unknown format. A changed format gets a new kind byte in its key (keys.py), so that
the workers of two releases can share one map during an upgrade.
"""

from __future__ import annotations

import struct
from math import ceil
from typing import ClassVar, NamedTuple, Protocol, TypeVar

FORMAT = 1
HEAD = struct.Struct("<BI")
LATEST_S = 0xFFFFFFFF

_unpack_head = HEAD.unpack_from

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Records(Protocol):
    """The records of one transaction. Nothing may wait or switch between the first call and the last."""

    @property
    def now_s(self) -> float:
        """The store's clock, in seconds since 1970; the same for the whole transaction."""

    def get(self, key: bytes) -> bytes | None:
        """The record of a key; None where there is none, where it has expired, or where its format is unknown."""

    def put(self, key: bytes, record: bytes) -> None:
        """Keep a record in place of the previous one."""

    def delete(self, key: bytes) -> None:
        """Forget a record, if there is one."""


class Question(Protocol[T_co]):
    """What one ACL asks about one request. Frozen and hashable: equal questions get equal answers in a request."""

    kind: ClassVar[str]

    def step(self, records: Records) -> T_co:
        """Read, decide, write."""


class StoreFigures(NamedTuple):
    """How full a store is. `evicted`: records that this process has deleted for want of room."""

    used_bytes: int
    max_bytes: int
    entries: int
    evicted: int


class Answering(Protocol):
    """What a policy asks. Every method raises StateError when the store does not work."""

    def ask(self, question: Question[T]) -> T:
        """The answer, in one transaction; what the question counts is counted."""

    def peek(self, question: Question[T]) -> T:
        """The answer that `ask` would give, with nothing written."""


class Store(Answering, Protocol):
    """Where records are. Every method raises StateError when the store does not work."""

    def walk(self, prefix: bytes, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """At most `most` keys and records that begin with `prefix` and come after the key `after`, in their order."""

    def reset(self, prefix: bytes) -> int:
        """Forget every record whose key begins with `prefix`; returns how many."""

    def describe(self) -> StoreFigures:
        """How full it is."""


def expiry_of(record: bytes) -> int:
    """When a record expires, in seconds since 1970. Raises struct.error if it is shorter than a head."""
    expiry_s: int = HEAD.unpack_from(record)[1]
    return expiry_s


def is_valid(record: bytes, now_s: float) -> bool:
    """Whether a record has a format that this release knows, and has not expired."""
    try:
        record_format, expiry_s = _unpack_head(record)
    except struct.error:
        return False
    return bool(record_format == FORMAT and expiry_s > now_s)


def expires_at(time_s: float) -> int:
    """The expiry of a record that must last until `time_s`: whole seconds, never earlier, within the head's 32 bits."""
    return min(ceil(time_s), LATEST_S)
