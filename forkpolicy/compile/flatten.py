"""From sorted records to what a table stores: disjoint ranges for cidr, one entry a key for the others.

One pass, a block of records at a time, memory for no more than the networks around the present one. The most specific
network wins: where networks nest, the outer one's range is cut into the pieces that the inner ones leave. An inner one
with its outer one's value says nothing new and is dropped. The same network or key twice is one entry; with two values
it is a mistake, told with both lines. `Tally` holds the counts, complaints and traits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack

from forkpolicy.compile.records import HEAD_CHARS, MAX_COMPLAINTS
from forkpolicy.errors import Complaint
from forkpolicy.tables import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.tables.format import Kind

Pair = tuple[bytes, bytes]

# Families stand in records as the hexadecimal form of the key's first byte, b"4" and b"6".
_V4_CHARS: Final = 10
_V6_CHARS: Final = 34

# More examples of a file order that loses do not teach more.
_MAX_ORDER_WARNINGS: Final = 5


@dataclass(slots=True)
class Tally:
    """What a pass found."""

    source_names: tuple[str, ...]
    skip_bad: bool = False
    entries: int = 0
    merged: int = 0
    nested: int = 0
    ranges: int = 0
    conflicts: int = 0
    skipped: int = 0
    out_of_order: int = 0
    complaints: list[Complaint] = field(default_factory=list)
    wildcard_labels: set[int] = field(default_factory=set)
    forms: set[str] = field(default_factory=set)

    @property
    def traits(self) -> dict[str, Any]:
        """What readers may skip because the table has none of it."""
        return {"wildcard_labels": sorted(self.wildcard_labels), "forms": sorted(self.forms)}

    def conflict(self, key: str, tail: str, before: str) -> None:
        """Two values for one key: `tail` is the entry that is refused, `before` the one that stands."""
        if self.skip_bad:
            self.skipped += 1
            return
        self.conflicts += 1
        if len(self.complaints) < MAX_COMPLAINTS:
            entry, other = Tail.parse(tail), Tail.parse(before)
            message = f"{key} has the value {entry.shown} here and {other.shown} at {self.place(other)}"
            self.complaints.append(
                Complaint(self.source_names[entry.source], entry.line, 0, message, hint="remove one of the two lines")
            )

    def order(self, key: str, tail: str, outer_key: str, outer: str) -> None:
        """A network inside one of another value that stands earlier in the same file: cidr_table(5) differs there."""
        self.out_of_order += 1
        if self.out_of_order <= _MAX_ORDER_WARNINGS:
            entry, other = Tail.parse(tail), Tail.parse(outer)
            message = (
                f"{key} ({entry.shown}) stands below {outer_key} ({other.shown}, line {other.line}), which contains "
                "it: here the most specific network wins, in cidr_table(5) the first"
            )
            self.complaints.append(
                Complaint(self.source_names[entry.source], entry.line, 0, message, severity="warning")
            )

    def place(self, tail: Tail) -> str:
        """`file:line` of an entry."""
        name = self.source_names[tail.source]
        return f"{name}:{tail.line}" if tail.line else name


class Tail(NamedTuple):
    """The packed part of a record, unpacked."""

    source: int
    line: int
    value: str | None

    @classmethod
    def parse(cls, tail: str) -> Tail:
        """Of the hexadecimal text at a record's end."""
        source, line, _, value = msgpack.unpackb(bytes.fromhex(tail))
        return cls(source, line, value)

    @property
    def shown(self) -> str:
        """The value in quotes, or that there is none."""
        return "no value" if self.value is None else f'"{self.value}"'


def flatten(kind: Kind, blocks: Iterable[list[str]], tally: Tally) -> Iterator[list[Pair]]:
    """What the table stores, in key order, a batch at a time."""
    return _flatten_networks(blocks, tally) if kind == "cidr" else _merge_keys(blocks, tally, kind)


def _merge_keys(blocks: Iterable[list[str]], tally: Tally, kind: Kind) -> Iterator[list[Pair]]:
    from_hex = bytes.fromhex
    before_key, before_tail = "", ""
    for block in blocks:
        batch: list[Pair] = []
        for record in block:
            key, _, tail = record.partition("\0")
            if key == before_key:
                if tail[HEAD_CHARS:] == before_tail[HEAD_CHARS:]:
                    tally.merged += 1
                else:
                    tally.conflict(_readable(key), tail, before_tail)
                continue
            before_key, before_tail = key, tail
            raw_key = key.encode("latin-1")
            batch.append((raw_key, from_hex(tail) + raw_key))
        tally.entries += len(batch)
        _learn_traits(kind, batch, tally)
        yield batch


def _readable(key: str) -> str:
    return key.encode("latin-1").decode("utf-8", "backslashreplace")


def _learn_traits(kind: Kind, batch: list[Pair], tally: Tally) -> None:
    if kind == "key":
        return
    tally.wildcard_labels.update({key.count(b".") for key, _ in batch if key.startswith(b".")})
    if kind == "address":
        # `sub.example` is a form of its own; `@` at the end means a local part anywhere.
        tally.forms.update({_form(key) for key, _ in batch})


def _form(key: bytes) -> str:
    if key.startswith(b"."):
        return "parent"
    if b"@" not in key:
        return "null" if key == b"<>" else "domain"
    return "local" if key.endswith(b"@") else "address"


class _Open:
    """A network that is not over yet. `start` is the first of its addresses that nothing has been said about."""

    __slots__ = ("key", "last", "start", "tail")

    def __init__(self, key: str, first: str, last: str, tail: str) -> None:
        self.key, self.start, self.last, self.tail = key, first, last, tail


def _flatten_networks(blocks: Iterable[list[str]], tally: Tally) -> Iterator[list[Pair]]:
    from_hex = bytes.fromhex
    open_: list[_Open] = []
    before_key, before_tail = "", ""
    for block in blocks:
        batch: list[Pair] = []
        append = batch.append
        merged = nested = 0
        for record in block:
            cut = _V4_CHARS if record[1] == "4" else _V6_CHARS
            # Twice the address and two characters of prefix length.
            first, key = record[:cut], record[: cut + 2]
            last, tail = record[cut + 2 : 2 * cut + 2], record[2 * cut + 2 :]
            if key == before_key:
                if tail[HEAD_CHARS:] == before_tail[HEAD_CHARS:]:
                    merged += 1
                else:
                    tally.conflict(_network_text(key), tail, before_tail)
                continue
            before_key, before_tail = key, tail
            while open_ and open_[-1].last < first:
                top = open_.pop()
                if top.start:
                    append((from_hex(top.last), from_hex(top.start + top.tail)))
                if open_:
                    open_[-1].start = _after(top.last, open_[-1].last)
            if open_:
                outer = open_[-1]
                if outer.tail[HEAD_CHARS:] == tail[HEAD_CHARS:]:
                    nested += 1
                    continue
                _note_order(key, tail, open_, tally)
                if outer.start < first:
                    append((from_hex(_before(first)), from_hex(outer.start + outer.tail)))
            open_.append(_Open(key, first, last, tail))
        tally.merged += merged
        tally.nested += nested
        tally.entries += len(block) - merged - nested
        tally.ranges += len(batch)
        yield batch
    rest = list(_close_all(open_))
    tally.entries -= tally.conflicts + tally.skipped
    tally.ranges += len(rest)
    yield rest


def _close_all(open_: list[_Open]) -> Iterator[Pair]:
    while open_:
        top = open_.pop()
        if top.start:
            yield bytes.fromhex(top.last), bytes.fromhex(top.start + top.tail)
        if open_:
            open_[-1].start = _after(top.last, open_[-1].last)


def _after(address: str, last: str) -> str:
    """The address behind `address`; empty where it was the outer network's last."""
    return "" if address == last else _moved(address, 1)


def _before(address: str) -> str:
    return _moved(address, -1)


def _moved(address: str, by: int) -> str:
    digits = address[2:]
    return f"{address[:2]}{int(digits, 16) + by:0{len(digits)}x}"


def _network_text(key: str) -> str:
    return keys.network_text(bytes.fromhex(key[:-2]), int(key[-2:], 16))


def _note_order(key: str, tail: str, open_: list[_Open], tally: Tally) -> None:
    source, line, value = tail[:6], tail[:16], tail[HEAD_CHARS:]
    for outer in open_:
        # Heads compare as their line numbers do, within one source.
        if outer.tail[:6] == source and outer.tail[:16] < line and outer.tail[HEAD_CHARS:] != value:
            tally.order(_network_text(key), tail, _network_text(outer.key), outer.tail)
            return
