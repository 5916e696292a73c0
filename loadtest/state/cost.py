"""CPU of one question in one process, next to a bare get and put of as many bytes under the same keys."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import lmdb

from forkpolicy.state import keys, map_file
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.questions.distinct import Distinct
from forkpolicy.state.questions.greylisting import TRIPLET, Greylisting
from forkpolicy.state.questions.listed import Listed
from forkpolicy.state.questions.rate import Limit, Rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forkpolicy.state.store import Question

MAP_BYTES = 256 << 20
WINDOWS = (Limit(1_000_000, 3600), Limit(10_000_000, 86400))
# A record of a rate: its head, and for each window slot, total, and 17 counts.
RATE_BYTES, WINDOW_BYTES = 5, 80
DELAY_S = 290


@dataclass(frozen=True, slots=True)
class Case:
    """Questions of one kind, with the keys that a bare get and put uses for them, and the size of its record.

    `prepared`: what is asked first, and does not count. `later_s`: how much later than the preparation they are asked.
    """

    name: str
    questions: Sequence[Question[Any]]
    bare_keys: Sequence[bytes]
    record_bytes: int
    prepared: Sequence[Question[Any]] = ()
    later_s: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds of a question and of the bare get and put, the least and the median of all rounds."""

    name: str
    least_us: float
    median_us: float
    bare_least_us: float
    bare_median_us: float

    @property
    def times(self) -> float:
        """How many times the bare one: the median of the rounds."""
        return self.median_us / self.bare_median_us


def cases(count: int) -> list[Case]:
    """Each kind with so many questions about so many users or triplets, in random order."""
    order = [random.Random(count).randrange(count) for _ in range(count)]
    two, one = _rates(order, WINDOWS), _rates(order, WINDOWS[:1])
    messages = [
        Rate("busy", (_user(number),), WINDOWS, "messages", 1, instance=f"1a2b.{at:08x}.0")
        for at, number in enumerate(order)
    ]
    triplets = [_triplet(number) for number in range(count)]
    rate_keys = [keys.make(keys.RATE, "busy", (_user(number),), b"requests/3600,86400") for number in order]
    triplet_keys = [keys.make(keys.GREYLISTING, "grey", (q.network, q.sender, q.recipient)) for q in triplets]
    values = [Distinct("places", (_user(number % 1000),), str(number % 37), 20, 3600) for number in order]
    full = [Rate("busy", (_user(number),), (Limit(1, 3600), Limit(1, 86400)), "requests", 1) for number in order]
    one_bytes, two_bytes = RATE_BYTES + WINDOW_BYTES, RATE_BYTES + 2 * WINDOW_BYTES
    return [
        Case("rate of one window", one, rate_keys, one_bytes, one),
        Case("rate of two windows", two, rate_keys, two_bytes, two),
        Case("rate of two windows, first of a key", _rates(range(count), WINDOWS), triplet_keys, two_bytes),
        Case("rate of two windows, refused", full, rate_keys, two_bytes, full),
        Case("rate of two windows, a new message", messages, rate_keys, two_bytes, two),
        Case("rate of two windows, a message again", messages, rate_keys, two_bytes, messages),
        Case("greylisting, new", triplets, triplet_keys, TRIPLET.size),
        Case("greylisting, early", triplets, triplet_keys, TRIPLET.size, triplets),
        Case("greylisting, passed", triplets, triplet_keys, TRIPLET.size, triplets, DELAY_S),
        Case("distinct of up to 20", values, rate_keys, 205, values),
        Case("listed", [Listed("bad", (_user(number),)) for number in order], rate_keys, 5),
    ]


def _user(number: int) -> str:
    return f"user{number}@example.com"


def _rates(order: Sequence[int], limits: tuple[Limit, ...]) -> list[Rate]:
    return [Rate("busy", (_user(number),), limits, "requests", 1) for number in order]


def _triplet(number: int) -> Greylisting:
    network = f"192.{number % 250}.{number % 241}.0/24"
    return Greylisting("grey", network, f"anna{number}@example.org", "bert@example.com", DELAY_S, 172_800, 3_024_000, 5)


def costs(count: int, rounds: int, directory: Path) -> list[Cost]:
    """Every case once a round, each right behind its bare get and put, in a map of its own."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for case in cases(count):
            found.setdefault(case.name, []).append((_bare_us(case, directory), _question_us(case, directory)))
    return [
        Cost(name, min(ours), median(ours), min(bare), median(bare))
        for name, pairs in found.items()
        for bare, ours in (tuple(zip(*pairs, strict=True)),)
    ]


def _question_us(case: Case, directory: Path) -> float:
    clock = [time.time()]
    with fresh_map(directory) as path:
        live = LiveMap.open(path, clock=lambda: clock[0])
        for question in case.prepared:
            live.ask(question)
        live.take_changed()
        clock[0] += case.later_s
        spent_us = _cpu_us(live.ask, case.questions)
        live.close()
    return spent_us


def _bare_us(case: Case, directory: Path) -> float:
    record = bytes(case.record_bytes)
    with fresh_map(directory) as path:
        size = map_file.size_of(path)
        with lmdb.open(path, map_size=size, max_readers=map_file.READERS, writemap=True, sync=False) as env:

            def get_and_put(key: bytes) -> None:
                txn = env.begin(write=True)
                txn.get(key)
                txn.put(key, record)
                txn.commit()

            for key in case.bare_keys if case.prepared else ():
                get_and_put(key)
            return _cpu_us(get_and_put, case.bare_keys)


def _cpu_us(ask: Callable[[Any], object], questions: Sequence[object]) -> float:
    started = time.process_time()
    for question in questions:
        ask(question)
    return (time.process_time() - started) / len(questions) * 1e6


@contextmanager
def fresh_map(directory: Path, size: int = MAP_BYTES) -> Iterator[str]:
    """The directory of a new map, which goes afterwards."""
    path = str(directory / "live")
    map_file.make(path, size)
    try:
        yield path
    finally:
        map_file.remove(path)
        Path(path).rmdir()
