"""What every worker counts, in shared memory: one slot per worker, written by that worker alone, read by any process,
no locks.

The master makes it before the first fork; a slot outlives its worker, and the next one in it counts on, so that
counters only grow. All values are unsigned 64-bit numbers; times are monotonic nanoseconds, which a change of the
clock does not move.

A reader may see one number newer than its neighbour. Nothing is decided by such a pair.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from forkpolicy.status import WorkerCounters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_WORKERS: Final = 512
# Successors need slots while the old ones leave.
MAX_WANTED: Final = MAX_WORKERS // 2
# Policies longer than this are served as well; the hits of their later lines are not counted.
MAX_LINES: Final = 16384
EMPTY_IS_END: Final = 8
STAYING: Final = 1
LEAVING_SOON: Final = 2

FIELDS: Final = tuple(field.name for field in fields(WorkerCounters))
ACTIONS: Final = (
    "DUNNO",
    "OK",
    "REJECT",
    "4xx",
    "5xx",
    "DEFER",
    "DEFER_IF_PERMIT",
    "DEFER_IF_REJECT",
    "DISCARD",
    "HOLD",
    "FILTER",
    "REDIRECT",
    "BCC",
    "PREPEND",
    "WARN",
    "INFO",
    "RELAY",
    "restriction",
    "service",
    "log",
    "score",
    "remember",
    "forget",
)
# Eight buckets for each power of two from 1.024 us on: a percentile is right within an eighth.
FIRST_POWER: Final = 10
LAST_POWER: Final = 35
PER_POWER: Final = 8
BUCKETS: Final = (LAST_POWER - FIRST_POWER) * PER_POWER + 1

_ACTIONS_AT: Final = len(FIELDS)
_BUCKETS_AT: Final = _ACTIONS_AT + len(ACTIONS)
_LINES_AT: Final = _BUCKETS_AT + BUCKETS
_EXEMPTED_AT: Final = _LINES_AT + MAX_LINES
_SLOT_WORDS: Final = _EXEMPTED_AT + MAX_LINES
_AT: Final = {name: number for number, name in enumerate(FIELDS)}
_ACTION_AT: Final = {name: _ACTIONS_AT + number for number, name in enumerate(ACTIONS)}


def bucket_of(ns: int) -> int:
    """The histogram bucket of a time; the first one has everything below a microsecond."""
    power = ns.bit_length() - 1
    if power < FIRST_POWER:
        return 0
    if power >= LAST_POWER:
        return BUCKETS - 1
    return (power - FIRST_POWER) * PER_POWER + ((ns >> (power - 3)) & 7) + 1


def bucket_limit_ns(bucket: int) -> int:
    """The time that a bucket's times are below."""
    power, part = divmod(bucket - 1, PER_POWER)
    return 1 << FIRST_POWER if bucket == 0 else ((PER_POWER + part + 1) << (power + FIRST_POWER)) // PER_POWER


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One slot's numbers at one moment."""

    slot: int
    counters: WorkerCounters
    actions: dict[str, int]
    latency: tuple[int, ...]
    line_hits: tuple[int, ...]
    exempted: tuple[int, ...]


class Scoreboard:
    """The shared memory. Untouched slots cost no memory."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, MAX_WORKERS * _SLOT_WORDS * 8)
        self._words = memoryview(self._memory).cast("Q")

    def slot(self, number: int) -> Slot:
        """One worker's slot."""
        return Slot(number, self._words[number * _SLOT_WORDS : (number + 1) * _SLOT_WORDS])

    def shares(self) -> list[tuple[int, int]]:
        """Connections and load of each worker that takes connections. Slots fill from the first on, so a few empty
        ones are the end.
        """
        shares = []
        empty = 0
        words = self._words
        for base in range(0, MAX_WORKERS * _SLOT_WORDS, _SLOT_WORDS):
            if words[base + _AT["serving"]]:
                shares.append((words[base + _AT["connections"]], words[base + _AT["load"]]))
            elif not words[base + _AT["pid"]]:
                empty += 1
                if empty > EMPTY_IS_END:
                    break
        return shares

    def lowest_serving(self) -> int:
        """The lowest slot whose worker takes connections; -1 where there is none."""
        for number in range(MAX_WORKERS):
            if self._words[number * _SLOT_WORDS + _AT["serving"]]:
                return number
        return -1

    def any_stays(self) -> bool:
        """Whether a worker takes connections and has no reason to go."""
        return any(self.slot(number)["serving"] == STAYING for number in range(MAX_WORKERS))


class Slot:
    """One worker's numbers."""

    def __init__(self, number: int, words: memoryview) -> None:
        self.number = number
        self._words = words

    def __getitem__(self, name: str) -> int:
        """One field."""
        value: int = self._words[_AT[name]]
        return value

    def __setitem__(self, name: str, value: int) -> None:
        """Set one field; the worker's own."""
        self._words[_AT[name]] = value

    def add(self, name: str, amount: int) -> None:
        """Count on."""
        self._words[_AT[name]] += amount

    def add_action(self, verb: str, amount: int) -> None:
        """Count replies with one verb on."""
        self._words[_ACTION_AT[verb]] += amount

    def add_latencies(self, buckets: Iterable[tuple[int, int]]) -> None:
        """Count requests on: pairs of a bucket and how many."""
        for bucket, count in buckets:
            self._words[_BUCKETS_AT + bucket] += count

    def set_line_hits(self, hits: Sequence[int]) -> None:
        """How often each line of this generation has fired here."""
        count = min(len(hits), MAX_LINES)
        for number in range(count):
            self._words[_LINES_AT + number] = hits[number]
        self["lines"] = count

    def set_exempted(self, exempted: Sequence[int]) -> None:
        """How many of the sampled requests of this generation each line has left alone."""
        for number, count in enumerate(exempted[:MAX_LINES]):
            self._words[_EXEMPTED_AT + number] = count

    def read(self) -> Snapshot:
        """All numbers now."""
        words = self._words
        lines = min(self["lines"], MAX_LINES)
        return Snapshot(
            self.number,
            WorkerCounters(*words[: len(FIELDS)]),
            {name: words[at] for name, at in _ACTION_AT.items()},
            tuple(words[_BUCKETS_AT : _BUCKETS_AT + BUCKETS]),
            tuple(words[_LINES_AT : _LINES_AT + lines]),
            tuple(words[_EXEMPTED_AT : _EXEMPTED_AT + lines]),
        )


def percentile_us(latency: Sequence[int], share: float) -> float:
    """The time in microseconds that a share (0 to 1) of the requests stayed below; 0 when there were none."""
    wanted = sum(latency) * share
    seen = 0
    for bucket, count in enumerate(latency):
        seen += count
        if count and seen >= wanted:
            return bucket_limit_ns(bucket) / 1000
    return 0.0
