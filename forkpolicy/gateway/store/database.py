"""held.db behind three threads: one that writes, transaction by transaction, one that reads, and one that counts.

What looks at all rows (the ledger, a search) has the third one to itself, so that no page waits for it: SQLite lets the
others go on meanwhile.

What must not happen at the same time (a file put in its place for one mail, and removed with the last row of another
with the same bytes) happens in the thread that writes. Raises StoreError, sqlite3.Error, OSError from what runs there.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from forkpolicy.gateway.store.schema import open_database, open_for_reading

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


class Database:
    """The database of one directory."""

    def __init__(self, directory: Path) -> None:
        self._writing, self._reading = open_database(directory), open_for_reading(directory)
        self._writer = ThreadPoolExecutor(1, "writer")
        self._reader = ThreadPoolExecutor(1, "reader")
        self._counting = open_for_reading(directory)
        self._counter = ThreadPoolExecutor(1, "counter")

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """What `change` returns, once its transaction is on disk. It runs even if the caller is cancelled."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._transaction, change)

    async def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """What `question` returns of the newest commit."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, question, self._reading)

    async def count(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """The same for a question that takes long: others are answered meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._counter, question, self._counting)

    def _transaction(self, change: Callable[[sqlite3.Connection], T]) -> T:
        self._writing.execute("BEGIN IMMEDIATE")
        try:
            value = change(self._writing)
            self._writing.execute("COMMIT")
        except BaseException:
            if self._writing.in_transaction:
                self._writing.execute("ROLLBACK")
            raise
        return value

    def close(self) -> None:
        """Wait for what is under way, and close."""
        for thread in (self._writer, self._reader, self._counter):
            thread.shutdown()
        for connection in (self._reading, self._counting, self._writing):
            connection.close()
