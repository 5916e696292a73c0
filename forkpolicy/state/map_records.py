"""The records of one transaction in a live map, as questions see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lmdb

from forkpolicy.state.store import is_valid

if TYPE_CHECKING:
    from forkpolicy.state.sweeping import Eviction


class MapRecords:
    """The records of a write transaction, and which keys have changed since somebody asked."""

    __slots__ = ("changed", "eviction", "now_s", "txn", "writes")

    def __init__(self, eviction: Eviction) -> None:
        self.eviction = eviction
        self.changed: set[bytes] = set()
        self.writes = 0
        self.now_s = 0.0
        self.txn: lmdb.Transaction[bytes]

    def get(self, key: bytes) -> bytes | None:
        """As Records.get."""
        record = self.txn.get(key)
        return record if record and is_valid(record, self.now_s) else None

    def put(self, key: bytes, record: bytes) -> None:
        """As Records.put; a full map takes no new key."""
        if self.eviction.is_full and self.txn.get(key) is None:
            raise lmdb.MapFullError("it takes no new key")
        self.txn.put(key, record)
        self.changed.add(key)
        self.writes += 1

    def delete(self, key: bytes) -> None:
        """As Records.delete."""
        self.txn.delete(key)
        self.changed.add(key)
        self.writes += 1


class PeekRecords:
    """The records of a read transaction; what is written is forgotten."""

    __slots__ = ("_txn", "now_s")

    def __init__(self, txn: lmdb.Transaction[bytes], now_s: float) -> None:
        self._txn, self.now_s = txn, now_s

    def get(self, key: bytes) -> bytes | None:
        """As Records.get."""
        record = self._txn.get(key)
        return None if record is None or not is_valid(record, self.now_s) else record

    def put(self, key: bytes, record: bytes) -> None:
        """Nothing."""

    def delete(self, key: bytes) -> None:
        """Nothing."""
