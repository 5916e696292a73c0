"""The copy of the live map on disk: LMDB with full sync, so that any loss of power leaves it whole.

One process writes it, a second behind the workers: `keep` takes the keys that they report as changed, `full_pass_step`
finds what was never reported (a worker was killed) and what has gone. A live map of another boot is empty: `restore`
fills it.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import lmdb

from forkpolicy.errors import CannotWriteError, StateError
from forkpolicy.state import keys, map_file
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.questions.greylisting import has_passed
from forkpolicy.state.store import is_valid
from forkpolicy.state.sweeping import read_after

if TYPE_CHECKING:
    from collections.abc import Iterable

# The copy's pages are filled in another order, and a commit needs as many again as it changes.
_TIMES_LARGER = 2
_READ_STEP = 1000
_LOAD_STEP = 500
_TRIPLETS = keys.prefix(keys.GREYLISTING)
_AFTER_TRIPLETS = keys.GREYLISTING + b"\1"
# Above so much of a live map, triplets that never passed are not restored: they are what would be evicted.
_RESTORE_TRIPLETS_BELOW = 0.70
_RESTORE_BELOW = 0.90


class KeptMap:
    """An open kept map. Every method raises StateError in words."""

    __slots__ = ("_env", "directory")

    def __init__(self, directory: str, env: lmdb.Environment) -> None:
        self.directory, self._env = directory, env

    @classmethod
    def open(cls, directory: str, max_bytes: int) -> KeptMap:
        """Open the map for a live one of `max_bytes`, or make it. Raises CannotWriteError where it cannot be made."""
        try:
            Path(directory).mkdir(0o770, parents=True, exist_ok=True)
            size = max(max_bytes * _TIMES_LARGER, map_file.size_of(directory))
            env = lmdb.open(directory, map_size=size, mode=map_file.FILE_MODE)
        except OSError as error:
            raise CannotWriteError(f"{directory}: cannot be made: {error.strerror}") from error
        except lmdb.Error as error:
            raise StateError(
                f"{directory}: the kept map cannot be opened: {error}: move it away to begin with nothing remembered"
            ) from error
        return cls(directory, env)

    def close(self) -> None:
        """Close the map."""
        self._env.close()

    def keep(self, live: LiveMap, changed: Iterable[bytes]) -> int:
        """Make the records of these keys as they are in the live map, in one commit; returns how many keys."""
        wanted = sorted(changed)
        items: list[tuple[bytes, bytes | None]] = []
        for start in range(0, len(wanted), _READ_STEP):
            items += live.records_of(wanted[start : start + _READ_STEP])
        self._write(items)
        return len(items)

    def full_pass_step(self, live: LiveMap, after: bytes, most: int) -> bytes:
        """Compare at most `most` records behind the key `after` and keep what differs.

        Returns the key with which to call it next; empty when the pass is over.
        """
        alive = live.walk(b"", after, most)
        last = alive[-1][0] if len(alive) == most else b""
        kept = dict(self._range(after, last))
        items: list[tuple[bytes, bytes | None]] = [item for item in alive if kept.pop(item[0], None) != item[1]]
        self._write([*items, *((key, None) for key in kept)])
        return last

    def _range(self, after: bytes, last: bytes) -> Iterable[tuple[bytes, bytes]]:
        """What is kept behind `after`, up to and with `last`; an empty `last` is the end."""
        while True:
            seen = self._read(after)
            for item in seen:
                if last and item[0] > last:
                    return
                yield item
            if len(seen) < _READ_STEP:
                return
            after = seen[-1][0]

    def _read(self, after: bytes) -> list[tuple[bytes, bytes]]:
        try:
            return read_after(self._env, b"", after, _READ_STEP)
        except lmdb.Error as error:
            raise self._failure(error) from error

    def _write(self, items: list[tuple[bytes, bytes | None]]) -> None:
        if not items:
            return
        try:
            with self._env.begin(write=True) as txn:
                for key, record in items:
                    if record is None:
                        txn.delete(key)
                    else:
                        txn.put(key, record)
        except lmdb.Error as error:
            raise self._failure(error) from error

    def restore(self, live: LiveMap) -> int:
        """Copy what has not expired into a new live map; returns how many records.

        Triplets come last: should the live map be smaller than the kept one, those that never passed are left out.
        """
        count = 0
        for after, last in ((b"", _TRIPLETS), (_AFTER_TRIPLETS, b""), (_TRIPLETS, _AFTER_TRIPLETS)):
            records = iter(self._range(after, last))
            while some := list(islice(records, _LOAD_STEP)):
                count += _load(live, some)
        return count

    def _failure(self, error: lmdb.Error) -> StateError:
        return StateError(f"{self.directory}: the kept map cannot be read or written: {error}")


def _load(live: LiveMap, some: list[tuple[bytes, bytes]]) -> int:
    share, now_s = live.share_used(), live.now_s()
    if share >= _RESTORE_BELOW:
        return 0
    fits = [
        (key, record)
        for key, record in some
        if is_valid(record, now_s)
        and (share < _RESTORE_TRIPLETS_BELOW or not key.startswith(_TRIPLETS) or has_passed(record))
    ]
    live.load(fits)
    return len(fits)


class Maps(NamedTuple):
    """Both maps, and how many records the live one got from the kept one: none if it was still there."""

    live: LiveMap
    kept: KeptMap
    restored: int


def open_both(live_directory: str, kept_directory: str, max_bytes: int) -> Maps:
    """Open both maps before any worker opens the live one, which is made where it is missing or of another boot.

    A live map of another size is made anew, with what was in it, unless another process has it open (an upgrade).
    Raises CannotWriteError and StateError.
    """
    kept = KeptMap.open(kept_directory, max_bytes)
    in_use = map_file.is_open(live_directory)
    if map_file.is_complete(live_directory):
        live = LiveMap.open(live_directory)
        if in_use or map_file.size_of(live_directory) == map_file.whole_pages(max_bytes):
            return Maps(live, kept, 0)
        after = kept.full_pass_step(live, b"", _READ_STEP)
        while after:
            after = kept.full_pass_step(live, after, _READ_STEP)
        live.close()
    elif in_use:
        raise StateError(f"{live_directory}: another process has this map open, and has not completed it: end it first")
    map_file.make(live_directory, max_bytes)
    live = LiveMap.open(live_directory)
    restored = kept.restore(live)
    map_file.complete(live_directory)
    return Maps(live, kept, restored)
