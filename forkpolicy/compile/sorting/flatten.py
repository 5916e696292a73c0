"""From sorted records to what a table stores: disjoint ranges for cidr, one entry a key for the others.

One pass, a block of records at a time, memory for no more than the networks around the present one. The most specific
network wins: where networks nest, the outer one's range is cut into the pieces that the inner ones leave. An inner one
with its outer one's value says nothing new and is dropped. The same network or key twice is one entry; with two values
it is a mistake, reported with both lines. `Tally` holds the counts, diagnostics and traits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.compile.sorting.flatten_columns import flatten_columns
from forkpolicy.compile.sorting.sort_records import HEAD_CHARS
from forkpolicy.compile.sorting.tally import LINE_END, SOURCE_END, Open, Pair, Tally, network_text
from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.tables.format import Kind
    from forkpolicy.tables.kinds.kind import TableKind

# A record of a network: address, 2 characters of prefix length, address, entry. Addresses have 10 characters or 34, and
# begin with "34" or "36", the hexadecimal form of their key's first byte; entries begin with a head of HEAD_CHARS.


def flatten(kind: Kind, blocks: Iterable[list[str]], tally: Tally) -> Iterator[list[Pair]]:
    """What the table stores, in key order, a batch at a time."""
    found = KINDS[kind]
    if found.columns:
        return flatten_columns(blocks, tally, found)
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


def _flatten_networks(  # noqa: PLR0912 - a call per network would cost a second for every five million
    blocks: Iterable[list[str]], tally: Tally
) -> Iterator[list[Pair]]:
    # Five million turns of this loop: everything it needs is a local name, a slice or a plain tuple.
    from_hex = bytes.fromhex
    # The networks around the present address, the innermost last, and for each the first of its addresses that nothing
    # has been said about: empty when there is none left.
    open_: list[Open] = []
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
                    tally.conflict(network_text(key), tail, before_tail)
                continue
            before_key, before_value, before_tail = key, value, tail
            while open_:
                _, outer_last, outer_value, outer_tail = open_[-1]
                if outer_last >= first:
                    if outer_value == value:
                        nested += 1
                        break
                    # Heads of one source compare as their line numbers do.
                    if outer_tail[:LINE_END] < tail[:LINE_END] and outer_tail[:SOURCE_END] == tail[:SOURCE_END]:
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


def _close_all(open_: list[Open], starts: list[str]) -> Iterator[Pair]:
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
