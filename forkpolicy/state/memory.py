"""A store of one process that ends with it: a dict and a clock. `replay` has one on its log's clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from forkpolicy.state.store import StoreFigures, is_valid

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.state.store import Question

T = TypeVar("T")


class MemoryStore:
    """A store in memory. `clock` returns seconds since 1970."""

    __slots__ = ("_clock", "_data", "_is_asked", "now_s")

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._data: dict[bytes, bytes] = {}
        self._is_asked = False
        self.now_s = 0.0

    def ask(self, question: Question[T]) -> T:
        """The answer; what the question counts is counted."""
        return self._step(question, writes=True)

    def peek(self, question: Question[T]) -> T:
        """The answer that `ask` would give, with nothing written."""
        return self._step(question, writes=False)

    def _step(self, question: Question[T], *, writes: bool) -> T:
        self.now_s, self._is_asked = self._clock(), writes
        return question.step(self)

    def get(self, key: bytes) -> bytes | None:
        """As Records.get: an expired record is forgotten when it is met."""
        record = self._data.get(key)
        if record is not None and not is_valid(record, self.now_s):
            return None
        return record

    def put(self, key: bytes, record: bytes) -> None:
        """As Records.put; nothing in a `peek`."""
        if self._is_asked:
            self._data[key] = record

    def delete(self, key: bytes) -> None:
        """As Records.delete; nothing in a `peek`."""
        if self._is_asked:
            self._data.pop(key, None)

    def walk(self, prefix: bytes, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """As Store.walk."""
        found = sorted(key for key in self._data if key.startswith(prefix) and key > after)
        now_s = self._clock()
        return [(key, self._data[key]) for key in found if is_valid(self._data[key], now_s)][:most]

    def reset(self, prefix: bytes) -> int:
        """As Store.reset."""
        gone = [key for key in self._data if key.startswith(prefix)]
        for key in gone:
            del self._data[key]
        return len(gone)

    def describe(self) -> StoreFigures:
        """How much it has; it has no bound."""
        used = sum(len(key) + len(record) for key, record in self._data.items())
        return StoreFigures(used_bytes=used, max_bytes=0, entries=len(self._data), evicted=0)
