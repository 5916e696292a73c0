"""The map that all workers of a host share: LMDB on a tmpfs, one write transaction a question, no sync.

A commit is visible to the other workers at once and costs a few microseconds. A worker that is killed inside a
transaction leaves nothing half done: the next writer takes its lock over. Without sync the map does not survive the
loss of power, so it has a mark of its boot, and one of another boot is not even opened (kept_map.py has the copy on
disk).

Open it after the fork. Nothing may wait inside a transaction, and readers are short: a page that a reader may still see
cannot be used again. Do not open and close lock.mdb in a process that has the map open: that would drop LMDB's lock on
it.

Every method raises StateError for what LMDB reports, in words.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import lmdb

from forkpolicy.errors import StateError
from forkpolicy.state import map_file
from forkpolicy.state.lock_holder import LOCK_FILE, holder_in
from forkpolicy.state.map_records import MapRecords, PeekRecords
from forkpolicy.state.store import StoreFigures, is_valid
from forkpolicy.state.sweeping import Eviction, Sweeper, delete, oldest_reader, pages_of, read_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from forkpolicy.state.store import Question

T = TypeVar("T")

# Every so many writes a worker looks whether there is room, which costs 2 us. If there is none, it walks so many
# records: two passes of eviction must end before the last 15 % of the map are written, also with few workers.
_LOOK_EVERY = 64
_EVICT_STEP = 2000
# Changed keys that wait to be kept; beyond that they wait for the full pass.
_MOST_CHANGED = 50_000
_WALK_STEP = 1000
# A map with fewer used pages than that is full of pages that some reader may still see.
_CROWDED = 0.75


class LiveMap:
    """An open map. `directory` has its two files, `identity` says which file it is."""

    __slots__ = (
        "_clock",
        "_env",
        "_eviction",
        "_lock_fd",
        "_look_at",
        "_records",
        "_sweeper",
        "changes_dropped",
        "directory",
        "identity",
    )

    def __init__(self, directory: str, env: lmdb.Environment, clock: Callable[[], float]) -> None:
        self.directory, self._env, self._clock = directory, env, clock
        self.identity = map_file.identity_of(directory)
        self._eviction = Eviction(env)
        self._sweeper = Sweeper(env, clock)
        self._records = MapRecords(self._eviction)
        self._look_at = 0
        self._lock_fd = -1
        self.changes_dropped = 0

    def was_replaced(self) -> bool:
        """Whether another map is in its place by now."""
        return map_file.identity_of(self.directory) not in {None, self.identity}

    @classmethod
    def open(cls, directory: str, *, read_only: bool = False, clock: Callable[[], float] = time.time) -> LiveMap:
        """Open the map that is there; it is never made. Tools open it `read_only`."""
        size = map_file.size_of(directory)
        if not size or not (Path(directory) / LOCK_FILE).exists():
            raise StateError(f"{directory}: there is no map: the server makes it when its policy remembers something")
        try:
            env = lmdb.open(
                directory,
                map_size=size,
                max_readers=map_file.READERS,
                writemap=not read_only,
                sync=False,
                readonly=read_only,
                create=False,
                mode=map_file.FILE_MODE,
            )
        except (lmdb.Error, OSError) as error:
            raise StateError(f"{directory}: the map cannot be opened: {error}") from error
        return cls(directory, env, clock)

    def close(self) -> None:
        """Close the map."""
        self._env.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def ask(self, question: Question[T]) -> T:
        """The answer, in one write transaction; what the question counts is counted."""
        try:
            return self._ask(question)
        except lmdb.MapFullError:
            # Nothing was written. Perhaps something has gone since, or goes now.
            self.make_room()
        except lmdb.Error as error:
            raise self._failure(error) from error
        try:
            return self._ask(question)
        except lmdb.Error as error:
            raise self._failure(error) from error

    def _ask(self, question: Question[T]) -> T:
        records = self._records
        txn = records.txn = self._env.begin(write=True)
        try:
            records.now_s = self._clock()
            answer = question.step(records)
            txn.commit()
        except BaseException:
            txn.abort()
            raise
        if records.writes >= self._look_at:
            self.make_room()
        return answer

    def peek(self, question: Question[T]) -> T:
        """The answer that `ask` would give, with nothing written."""
        try:
            with self._begin_reading() as txn:
                return question.step(PeekRecords(txn, self._clock()))
        except lmdb.Error as error:
            raise self._failure(error) from error

    def _begin_reading(self) -> lmdb.Transaction[bytes]:
        try:
            return self._env.begin()
        except lmdb.ReadersFullError:
            # Those of killed processes go.
            self._env.reader_check()
            return self._env.begin()

    def make_room(self) -> None:
        """Evict some records if the map is nearly full. `ask` does it by itself now and then."""
        self._look_at = self._records.writes + _LOOK_EVERY
        if len(self._records.changed) > _MOST_CHANGED:
            self.changes_dropped += len(self.take_changed())
        try:
            self._eviction.step(_EVICT_STEP)
        except lmdb.Error as error:
            raise self._failure(error) from error

    def sweep(self) -> int:
        """Delete what has expired among the next 100 records; how many. Ten times a second, by one process."""
        try:
            return self._sweeper.step()
        except lmdb.Error as error:
            raise self._failure(error) from error

    def reader_check(self) -> int:
        """Free the slots of readers that were killed, as their pages cannot be used again before; how many."""
        try:
            return self._env.reader_check()
        except lmdb.Error as error:
            raise self._failure(error) from error

    def take_changed(self) -> set[bytes]:
        """The keys that this process has written or deleted since the last call."""
        changed, self._records.changed = self._records.changed, set()
        return changed

    def walk(self, prefix: bytes, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """As Store.walk, in read transactions of 1000 records."""
        now_s = self._clock()
        found: list[tuple[bytes, bytes]] = []
        try:
            while len(found) < most:
                with _not_suspended():
                    seen = read_after(self._env, prefix, after, _WALK_STEP)
                found += [item for item in seen if is_valid(item[1], now_s)]
                if len(seen) < _WALK_STEP:
                    break
                after = seen[-1][0]
        except lmdb.Error as error:
            raise self._failure(error) from error
        return found[:most]

    def records_of(self, some: Iterable[bytes]) -> list[tuple[bytes, bytes | None]]:
        """Each key with its record as it is now, in one read transaction; expired: None."""
        now_s = self._clock()
        try:
            with self._begin_reading() as txn:
                return [
                    (key, record if record is not None and is_valid(record, now_s) else None)
                    for key in some
                    for record in (txn.get(key),)
                ]
        except lmdb.Error as error:
            raise self._failure(error) from error

    def reset(self, prefix: bytes) -> int:
        """As Store.reset, in small transactions: what is counted meanwhile may stay."""
        count, after = 0, b""
        try:
            while True:
                some = [key for key, _ in read_after(self._env, prefix, after, _WALK_STEP)]
                count += delete(self._env, some, lambda _record: True)
                self._records.changed.update(some)
                if len(some) < _WALK_STEP:
                    return count
                after = some[-1]
        except lmdb.Error as error:
            raise self._failure(error) from error

    def load(self, items: list[tuple[bytes, bytes]]) -> None:
        """Put many records into a map that nobody else uses yet, in one transaction."""
        try:
            with self._env.begin(write=True) as txn, txn.cursor() as cursor:
                cursor.putmulti(items)
        except lmdb.Error as error:
            raise self._failure(error) from error

    def now_s(self) -> float:
        """The map's clock, in seconds since 1970."""
        return self._clock()

    def share_used(self) -> float:
        """How much of the map is used, 0 to 1."""
        return pages_of(self._env).share

    def describe(self) -> StoreFigures:
        """How full it is, in pages."""
        try:
            pages = pages_of(self._env)
        except lmdb.Error as error:
            raise self._failure(error) from error
        page_bytes = pages.page_bytes
        return StoreFigures(pages.used * page_bytes, pages.most * page_bytes, pages.entries, self._eviction.evicted)

    def shows_holder(self) -> bool:
        """Whether this release of LMDB and glibc lays a lock file out as lock_holder.py takes it to be."""
        if self._lock_fd < 0:
            # Closed after the map only: see above.
            self._lock_fd = os.open(Path(self.directory) / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
        with self._env.begin(write=True):
            inside = holder_in(self._lock_fd)
        return inside == threading.get_native_id() != holder_in(self._lock_fd)

    def _failure(self, error: lmdb.Error) -> StateError:
        return StateError(f"{self.directory}: {_words(error, self._env)}")


@contextmanager
def _not_suspended() -> Iterator[None]:
    """A tool is suspended by ^Z behind a read transaction: inside, it would keep all pages that it may see."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _words(error: lmdb.Error, env: lmdb.Environment) -> str:
    if isinstance(error, lmdb.MapFullError):
        reader = 0 if pages_of(env).share > _CROWDED else oldest_reader(env)
        if reader:
            return f"the map is full of old pages, as process {reader} reads it since long: end that process"
        return "the map is full: raise state.max_size and restart"
    if isinstance(error, lmdb.ReadersFullError):
        return "too many processes read the map at once: end some of them"
    if "would deadlock" in str(error):
        return "a second question was asked inside a question, which is a bug of forkpolicy"
    return f"the map failed: {error}"
