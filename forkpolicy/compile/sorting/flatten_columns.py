"""From sorted records to what a table of several columns stores: one entry a key, and of networks disjoint ranges.

Records that differ in nothing but their network (a group) stand together, in the order in which networks nest. As in a
table of kind cidr the most specific wins; unlike there, a network inside one of the same value is stored too, because
the length of its prefix decides between groups. One pass, memory for the networks around the present one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.compile.sorting.sort_records import HEAD_CHARS
from forkpolicy.tables.format import COLUMN_SEPARATOR, shown_key
from forkpolicy.tables.keys import network_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.compile.sorting.tally import Pair, Tally
    from forkpolicy.tables.kinds.kind import TableKind

# Hexadecimal, as the records have them: by its family, an address; a prefix length.
_ADDRESS_CHARS: Final = {"34": 10, "36": 34}
_LENGTH_CHARS: Final = 2


class _Network(NamedTuple):
    """A network that is not over yet. Addresses and entry in hexadecimal form."""

    last: str
    entry: str


class _Group:
    """The networks of one group, one inside the other."""

    def __init__(self, key: str) -> None:
        self._key = (key + COLUMN_SEPARATOR).encode("latin-1")
        # The networks around the present address, the innermost last, and of each the first address that nothing has
        # been said about: empty when there is none left.
        self._open: list[_Network] = []
        self._starts: list[str] = []

    def add(self, first: str, network: _Network, batch: list[Pair]) -> None:
        """A further network; what it ends or interrupts goes to the batch."""
        while self._open and self._open[-1].last < first:
            self._close(batch)
        if self._open and self._starts[-1] < first:
            batch.append(self._range(self._starts[-1], f"{int(first, 16) - 1:x}", self._open[-1].entry))
        self._open.append(network)
        self._starts.append(first)

    def end(self, batch: list[Pair]) -> None:
        """No further one; what is left goes to the batch."""
        while self._open:
            self._close(batch)

    def _close(self, batch: list[Pair]) -> None:
        network, start = self._open.pop(), self._starts.pop()
        if start:
            batch.append(self._range(start, network.last, network.entry))
        if self._open:
            is_over = network.last == self._open[-1].last
            self._starts[-1] = "" if is_over else f"{int(network.last, 16) + 1:x}"

    def _range(self, first: str, last: str, entry: str) -> Pair:
        return self._key + bytes.fromhex(last), bytes.fromhex(first + entry)


def flatten_columns(blocks: Iterable[list[str]], tally: Tally, kind: TableKind) -> Iterator[list[Pair]]:
    """What the table stores, in key order, a batch at a time."""
    before_key = before_entry = ""
    group_key, group = "", _Group("")
    for block in blocks:
        batch: list[Pair] = []
        for record in block:
            columns, _, rest = record.partition("\0")
            chars = _ADDRESS_CHARS.get(rest[:2], 0)
            key, entry = record[: len(columns) + 1 + chars], rest
            if chars:
                key = record[: len(key) + _LENGTH_CHARS]
                entry = rest[2 * chars + _LENGTH_CHARS :]
            if key == before_key:
                if entry[HEAD_CHARS:] == before_entry[HEAD_CHARS:]:
                    tally.merged += 1
                else:
                    tally.conflict(_shown(key), entry, before_entry)
                continue
            before_key, before_entry = key, entry
            tally.entries += 1
            if columns != group_key:
                group.end(batch)
                group_key, group = columns, _Group(columns)
            if chars:
                last = rest[chars + _LENGTH_CHARS : 2 * chars + _LENGTH_CHARS]
                group.add(rest[:chars], _Network(last, entry), batch)
            else:
                batch.append((columns.encode("latin-1"), bytes.fromhex(entry)))
        yield _counted(batch, tally, kind)
    batch = []
    group.end(batch)
    yield _counted(batch, tally, kind)


def _counted(batch: list[Pair], tally: Tally, kind: TableKind) -> list[Pair]:
    tally.ranges += len(batch)
    tally.forms |= kind.forms(key for key, _ in batch)
    return batch


def _shown(key: str) -> str:
    """A record's key for people."""
    columns, _, network = key.partition("\0")
    shown = network_text(bytes.fromhex(network[:-_LENGTH_CHARS]), int(network[-_LENGTH_CHARS:], 16)) if network else ""
    return shown_key(columns.encode("latin-1"), shown)
