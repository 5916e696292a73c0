"""Records that go: those that have expired, and, when the map is nearly full, those that can be spared.

Both walk the map in steps of short read transactions, and delete in write transactions of a few records, so that nobody
waits long for the lock. A full map refuses the large transaction that would empty it, so there is always some room: at
80 % of the pages, greylisted triplets that never passed are deleted, oldest first. Counters, lists and what has passed
stay. When nothing can go, the map takes no new keys; at 95 % it takes none in any case.

Pages do not become free when records here and there are deleted, but new ones fit in between. So room is what the
records take as a well filled map, not the number of pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import lmdb

from forkpolicy.state import keys
from forkpolicy.state.questions.greylisting import first_seen_s, has_passed
from forkpolicy.state.store import HEAD, expiry_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

STEP = 100
# Ten deletes hold the lock for 32 us.
DELETES = 20

_TRIPLETS = keys.prefix(keys.GREYLISTING)
_CROWDED, _FULL, _URGENT, _HARD = 0.60, 0.80, 0.90, 0.95
# Eviction stops here: each pass walks the whole map, so it must be worth it.
_ROOM = 0.75
# How full random insertion leaves the pages of a B tree, and what a record takes in one but its key and value.
_FILL, _NODE_BYTES = 0.69, 10
# A pass that found room in the pages begins again when there are so many more records.
_GROWN, _SHRUNK = 1.02, 0.99


class Pages(NamedTuple):
    """How many pages a map has used, of how many, and its records."""

    used: int
    most: int
    entries: int
    page_bytes: int

    @property
    def share(self) -> float:
        """The used part: 0 to 1."""
        return self.used / self.most


def pages_of(env: lmdb.Environment) -> Pages:
    """How full a map is. Pages that were freed count as free at once."""
    stat, info = env.stat(), env.info()
    used = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] + 2
    return Pages(used, info["map_size"] // stat["psize"], stat["entries"], stat["psize"])


class Sweeper:
    """Deletes what has expired, step by step, over and over."""

    __slots__ = ("_after", "_clock", "_env")

    def __init__(self, env: lmdb.Environment, clock: Callable[[], float]) -> None:
        self._env, self._clock, self._after = env, clock, b""

    def step(self) -> int:
        """Look at the next 100 records (1000 in a map that is more than 60 % full); how many were deleted."""
        most = STEP if pages_of(self._env).share < _CROWDED else 10 * STEP
        now_s = self._clock()
        seen = read_after(self._env, b"", self._after, most)
        self._after = seen[-1][0] if len(seen) == most else b""
        expired = [key for key, record in seen if _has_expired(record, now_s)]
        return delete(self._env, expired, lambda record: _has_expired(record, now_s))


class Eviction:
    """Keeps room in the map. `is_full`: it takes no new key at the moment. `evicted`: how many records went so far.

    A pass over the map counts what may go by its age, a second one deletes the oldest; between steps others go on.
    """

    __slots__ = (
        "_after",
        "_ages",
        "_bytes",
        "_clock",
        "_cutoff_s",
        "_env",
        "_rest_above",
        "_rest_below",
        "evicted",
        "is_full",
    )

    def __init__(self, env: lmdb.Environment, clock: Callable[[], float]) -> None:
        self._env, self._clock = env, clock
        self.is_full, self.evicted = False, 0
        self._rest()

    def _rest(self, below: float = 0, above: float = 0) -> None:
        """Begin a pass only with fewer records than `below`, or with more than `above`."""
        self._rest_below, self._rest_above = below, above
        self._after, self._bytes = b"", 0
        self._ages: dict[int, int] = {}
        self._cutoff_s = 0

    def step(self, most: int) -> None:
        """Look whether there is room, and if not, walk `most` records on."""
        pages = pages_of(self._env)
        if pages.share < _FULL:
            if self.is_full or self._after:
                self.is_full = False
                self._rest()
            return
        if self._rest_below <= pages.entries <= self._rest_above:
            return
        if self._cutoff_s:
            self._delete_step(most)
        else:
            self._count_step(most)
        self.is_full = self.is_full or pages.share >= _HARD

    def _count_step(self, most: int) -> None:
        seen = read_after(self._env, b"", self._after, most)
        for key, record in seen:
            size = len(key) + len(record) + _NODE_BYTES
            self._bytes += size
            if key.startswith(_TRIPLETS) and not has_passed(record):
                first_s = first_seen_s(record)
                self._ages[first_s] = self._ages.get(first_s, 0) + size
        if len(seen) == most:
            self._after = seen[-1][0]
        else:
            self._choose()

    def _choose(self) -> None:
        """A pass has counted everything: what must go?"""
        pages = pages_of(self._env)
        surplus = self._bytes - int(pages.most * pages.page_bytes * _ROOM * _FILL)
        if pages.share >= _URGENT:
            surplus = max(surplus, self._bytes // 20)
        self.is_full = pages.share >= _HARD
        if surplus <= 0:
            self._rest(0, pages.entries * _GROWN)
        elif not self._ages:
            self.is_full = True
            self._rest(pages.entries * _SHRUNK, 1 << 62)
        else:
            self._cutoff_s = _cutoff(self._ages, surplus)
            self._after = _TRIPLETS

    def _delete_step(self, most: int) -> None:
        seen = read_after(self._env, _TRIPLETS, self._after, most)
        old = [key for key, record in seen if self._may_go(record)]
        self.evicted += delete(self._env, old, self._may_go)
        if len(seen) == most:
            self._after = seen[-1][0]
        else:
            self.is_full = False
            self._rest(0, pages_of(self._env).entries * _GROWN)

    def _may_go(self, record: bytes) -> bool:
        return not has_passed(record) and first_seen_s(record) <= self._cutoff_s


def _cutoff(ages: dict[int, int], surplus: int) -> int:
    """The time up to which all must go so that `surplus` bytes go."""
    cutoff_s = 0
    for cutoff_s in sorted(ages):
        surplus -= ages[cutoff_s]
        if surplus <= 0:
            break
    # 0 means that there is none; a record of 1970 is as old as one of a second later.
    return max(1, cutoff_s)


def read_after(env: lmdb.Environment, prefix: bytes, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
    """At most `most` records with `prefix` behind the key `after`, in one short read transaction; expired ones too."""
    found: list[tuple[bytes, bytes]] = []
    with env.begin() as txn, txn.cursor() as cursor:
        start = max(prefix, after)
        if not (cursor.set_range(start) if start else cursor.first()):
            return found
        for key, record in cursor:
            if not key.startswith(prefix) or len(found) == most:
                break
            if key > after:
                found.append((key, record))
    return found


def delete(env: lmdb.Environment, doomed: list[bytes], may_go: Callable[[bytes], bool]) -> int:
    """Delete records that may still go, in small transactions, one by one if the map is full; returns how many went."""
    deleted = 0
    for start in range(0, len(doomed), DELETES):
        some = doomed[start : start + DELETES]
        try:
            deleted += _delete_together(env, some, may_go)
        except lmdb.MapFullError:
            deleted += sum(_delete_alone(env, key, may_go) for key in some)
    return deleted


def _delete_together(env: lmdb.Environment, some: Iterable[bytes], may_go: Callable[[bytes], bool]) -> int:
    with env.begin(write=True) as txn:
        return sum(txn.delete(key) for key in some if (record := txn.get(key)) is not None and may_go(record))


def _delete_alone(env: lmdb.Environment, key: bytes, may_go: Callable[[bytes], bool]) -> int:
    try:
        return _delete_together(env, [key], may_go)
    except lmdb.MapFullError:
        return 0


def _has_expired(record: bytes, now_s: float) -> bool:
    """Of any format, also one that only a newer release knows; what is shorter than a head is not a record."""
    return len(record) < HEAD.size or expiry_of(record) <= now_s
