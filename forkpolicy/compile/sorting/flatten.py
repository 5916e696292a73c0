"""From sorted records to what a table stores: disjoint ranges for cidr, one entry a key for the others.

One pass, a block of records at a time, memory for no more than the networks around the present one. The most specific
network wins: where networks nest, the outer one's range is cut into the pieces that the inner ones leave. An inner one
with its outer one's value says nothing new and is dropped. The same network or key twice is one entry; with two values
it is a mistake, reported with both lines. `Tally` holds the counts, diagnostics and traits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack

from forkpolicy.compile.diagnostics import FirstDiagnostics
from forkpolicy.compile.sorting.sort_records import HEAD_CHARS
from forkpolicy.errors import Diagnostic
from forkpolicy.tables import keys
from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.tables.format import Kind, Traits
    from forkpolicy.tables.kinds.kind import TableKind

Pair = tuple[bytes, bytes]

# A record of a network: address, 2 characters of prefix length, address, entry. Addresses have 10 characters or 34, and
# begin with "34" or "36", the hexadecimal form of their key's first byte; entries begin with a head of HEAD_CHARS.
# Where in an entry's head its source and its line end.
_SOURCE_END: Final = 6
_LINE_END: Final = 16

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
    skipped: int = 0
    out_of_order: int = 0
    conflicts: FirstDiagnostics = field(default_factory=FirstDiagnostics)
    order_examples: list[Diagnostic] = field(default_factory=list)
    wildcard_labels: set[int] = field(default_factory=set)
    forms: set[str] = field(default_factory=set)

    @property
    def traits(self) -> Traits:
        """What readers may skip because the table has none of it."""
        return {"wildcard_labels": sorted(self.wildcard_labels), "forms": sorted(self.forms)}

    def add(self, other: Tally) -> None:
        """Take in what another pass over another part found."""
        for name in ("entries", "merged", "nested", "ranges", "skipped", "out_of_order"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.conflicts.add_all(other.conflicts)
        self.order_examples += other.order_examples[: max(0, _MAX_ORDER_WARNINGS - len(self.order_examples))]
        self.wildcard_labels |= other.wildcard_labels
        self.forms |= other.forms

    def conflict(self, key: str, tail: str, before: str) -> None:
        """Two values for one key: `tail` is the entry that is refused, `before` the one that stands."""
        if self.skip_bad:
            self.skipped += 1
            return
        # Heads compare as their sources and lines do.
        self.conflicts.add(tail[:_LINE_END], lambda: self._conflict(key, Tail.parse(tail), Tail.parse(before)))

    def _conflict(self, key: str, entry: Tail, other: Tail) -> Diagnostic:
        message = f"{key} has the value {entry.shown} here and {other.shown} at {self.place(other)}"
        hint = "remove one of the two lines"
        return Diagnostic(self.source_names[entry.source], entry.line, 0, message, hint=hint)

    def order(self, key: str, tail: str, outer: _Open) -> None:
        """A network inside one of another value that stands earlier in the same file: cidr_table(5) differs there."""
        self.out_of_order += 1
        if len(self.order_examples) < _MAX_ORDER_WARNINGS:
            entry, other = Tail.parse(tail), Tail.parse(outer[3])
            message = (
                f"{_network_text(key)} ({entry.shown}) stands below {_network_text(outer[0])} "
                f"({other.shown}, line {other.line}), which contains "
                "it: here the most specific network wins, in cidr_table(5) the first"
            )
            self.order_examples.append(
                Diagnostic(self.source_names[entry.source], entry.line, 0, message, severity="warning")
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
    found = KINDS[kind]
    return _flatten_networks(blocks, tally) if found.stores_ranges else _merge_keys(blocks, tally, found)


def _merge_keys(blocks: Iterable[list[str]], tally: Tally, kind: TableKind) -> Iterator[list[Pair]]:
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
            batch.append((key.encode("latin-1"), from_hex(tail)))
        tally.entries += len(batch)
        stored = [key for key, _ in batch]
        tally.wildcard_labels |= kind.wildcard_labels(stored)
        tally.forms |= kind.forms(stored)
        yield batch


def _readable(key: str) -> str:
    return key.encode("latin-1").decode("utf-8", "backslashreplace")


# A network that is not over yet: key, last address, value, entry, as its record has them.
_Open = tuple[str, str, str, str]


def _flatten_networks(  # noqa: PLR0912 - a call per network would cost a second for every five million
    blocks: Iterable[list[str]], tally: Tally
) -> Iterator[list[Pair]]:
    # Five million turns of this loop: everything it needs is a local name, a slice or a plain tuple.
    from_hex = bytes.fromhex
    # The networks around the present address, the innermost last, and for each the first of its addresses that nothing
    # has been said about: empty when there is none left.
    open_: list[_Open] = []
    starts: list[str] = []
    before_key = before_value = before_tail = ""
    for block in blocks:
        batch: list[Pair] = []
        append = batch.append
        merged = nested = 0
        for record in block:
            if record[1] == "4":
                first, key, last, tail, value = record[:10], record[:12], record[12:22], record[22:], record[42:]
            else:
                first, key, last, tail, value = record[:34], record[:36], record[36:70], record[70:], record[90:]
            if key == before_key:
                if value == before_value:
                    merged += 1
                else:
                    tally.conflict(_network_text(key), tail, before_tail)
                continue
            before_key, before_value, before_tail = key, value, tail
            while open_:
                _, outer_last, outer_value, outer_tail = open_[-1]
                if outer_last >= first:
                    if outer_value == value:
                        nested += 1
                        break
                    # Heads of one source compare as their line numbers do.
                    if outer_tail[:_LINE_END] < tail[:_LINE_END] and outer_tail[:_SOURCE_END] == tail[:_SOURCE_END]:
                        tally.order(key, tail, open_[-1])
                    start = starts[-1]
                    if start < first:
                        append((from_hex(f"{int(first, 16) - 1:x}"), from_hex(start + outer_tail)))
                    open_.append((key, last, value, tail))
                    starts.append(first)
                    break
                del open_[-1]
                start = starts.pop()
                if start:
                    append((from_hex(outer_last), from_hex(start + outer_tail)))
                if open_:
                    starts[-1] = _after(outer_last, open_[-1][1])
            else:
                open_.append((key, last, value, tail))
                starts.append(first)
        tally.merged += merged
        tally.nested += nested
        tally.entries += len(block) - merged - nested
        tally.ranges += len(batch)
        yield batch
    rest = list(_close_all(open_, starts))
    tally.entries -= tally.conflicts.count + tally.skipped
    tally.ranges += len(rest)
    yield rest


def _close_all(open_: list[_Open], starts: list[str]) -> Iterator[Pair]:
    while open_:
        _, last, _, tail = open_.pop()
        start = starts.pop()
        if start:
            yield bytes.fromhex(last), bytes.fromhex(start + tail)
        if open_:
            starts[-1] = _after(last, open_[-1][1])


def _after(address: str, last: str) -> str:
    """The address behind `address`, where the outer network goes on; empty if `address` was its last."""
    return "" if address == last else f"{int(address, 16) + 1:x}"


def _network_text(key: str) -> str:
    return keys.network_text(bytes.fromhex(key[:-2]), int(key[-2:], 16))
