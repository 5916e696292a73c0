"""Records that go: those that have expired, and, when the map is nearly full, those that can be spared.

Both walk the map in steps of short read transactions, and delete in write transactions of a few records, so that nobody
waits long for the lock. A full map refuses the large transaction that would empty it, so there is always some room: at
80 % of the pages, a tenth of the records is deleted (more at 85 %): greylisted triplets that never passed, oldest
first. Counters, lists and what has passed stay. When nothing can go, the map takes no new keys until something has
expired.

Pages do not become free when records here and there are deleted, but as many new ones fit in between. So the next tenth
goes when there are as many records again as there were, or two hundredths more pages.
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
_CROWDED, _FULL, _URGENT, _HARD = 0.60, 0.80, 0.85, 0.92
# Of all records; more where keys come in an order that leaves the pages half empty.
_EVICTED, _EVICTED_MORE = 0.10, 2.0
_GROWN = 0.02
# A map that could spare nothing is looked at again when so many of its records have expired.
_EXPIRED = 0.01


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


def oldest_reader(env: lmdb.Environment) -> int:
    """The process whose read transaction is the oldest; 0 if none reads. What it may see cannot be used again."""
    # A line a reader: process, thread (hexadecimal), transaction, or `-` between two of them.
    readers = [line.split() for line in env.readers().splitlines()[1:]]
    reading = [(int(words[2]), int(words[0])) for words in readers if len(words) == 3 and words[2].isdecimal()]
    return min(reading)[1] if reading else 0


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

    A pass over the triplets counts what may go by its age, a second one deletes the oldest; between steps others go on.
    """

    __slots__ = (
        "_after",
        "_ages",
        "_cutoff_s",
        "_env",
        "_is_stuck",
        "_rest_records",
        "_rest_share",
        "evicted",
        "is_full",
    )

    def __init__(self, env: lmdb.Environment) -> None:
        self._env = env
        self.is_full, self.evicted = False, 0
        self._rest(0, 0)

    def _rest(self, records: float, share: float, *, is_stuck: bool = False) -> None:
        """Begin a pass only when the map has more than so many records, or a larger share of its pages is used.

        Where nothing could go: when it has fewer records.
        """
        self._rest_records, self._rest_share, self._is_stuck = records, share, is_stuck
        self._after = _TRIPLETS
        self._ages: dict[int, int] = {}
        self._cutoff_s = 0

    def step(self, most: int) -> None:
        """Look whether there is room, and if not, walk `most` records on; four times as many at 85 %."""
        pages = pages_of(self._env)
        if pages.share >= _URGENT:
            most *= 4
        if self._cutoff_s:
            # To its end: what is as old as what went goes, too.
            self._delete_step(most)
        elif pages.share < _FULL:
            if self._rest_share or self._ages:
                self._rest(0, 0)
        elif self._is_stuck:
            if pages.entries < self._rest_records:
                self._rest(0, 0)
        elif pages.entries > self._rest_records or pages.share > self._rest_share:
            self._count_step(most)
        self.is_full = pages.share >= _HARD or (self._is_stuck and pages.share >= _FULL)

    def _count_step(self, most: int) -> None:
        seen = read_after(self._env, _TRIPLETS, self._after, most)
        for _, record in seen:
            if not has_passed(record):
                first_s = first_seen_s(record)
                self._ages[first_s] = self._ages.get(first_s, 0) + 1
        if len(seen) == most:
            self._after = seen[-1][0]
            return
        pages = pages_of(self._env)
        if self._ages:
            evicted = _EVICTED + _EVICTED_MORE * (pages.share - _FULL)
            self._cutoff_s = _cutoff(self._ages, int(pages.entries * evicted))
            self._after = _TRIPLETS
        else:
            self._rest(pages.entries * (1 - _EXPIRED), 1, is_stuck=True)

    def _delete_step(self, most: int) -> None:
        seen = read_after(self._env, _TRIPLETS, self._after, most)
        old = [key for key, record in seen if self._may_go(record)]
        self.evicted += delete(self._env, old, self._may_go)
        if len(seen) == most:
            self._after = seen[-1][0]
        else:
            pages = pages_of(self._env)
            self._rest(pages.entries * (1 + _EVICTED), pages.share + _GROWN)

    def _may_go(self, record: bytes) -> bool:
        return not has_passed(record) and first_seen_s(record) <= self._cutoff_s


def _cutoff(ages: dict[int, int], surplus: int) -> int:
    """The time up to which all must go so that so many go, or all there are."""
    cutoff_s = 0
    for cutoff_s in sorted(ages):
        surplus -= ages[cutoff_s]
        if surplus <= 0:
            break
    # 0 means that there is none.
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
