"""Several processes that ask about one key at once: how long each question takes, and whether the limit is exact."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.questions.rate import Limit, Rate
from loadtest.errors import VerdictError
from loadtest.measure.histogram import Histogram
from loadtest.state.cost import fresh_map

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class Contention:
    """What so many writers on one key saw; latencies in microseconds."""

    writers: int
    per_s: float
    cpu_us: float
    latency: Histogram
    passed: int


def contention(writers: int, each: int, limit: int, directory: Path) -> Contention:
    """`writers` processes with `each` questions. Raises VerdictError when not exactly `limit` of them pass."""
    context = multiprocessing.get_context("fork")
    with fresh_map(directory) as path:
        barrier, ends, children = context.Barrier(writers + 1), [], []
        for _ in range(writers):
            ours, theirs = context.Pipe()
            child = context.Process(target=_write, args=(path, each, limit, barrier, theirs))
            child.start()
            ends.append(ours)
            children.append(child)
        barrier.wait(LONGEST_S)
        started = time.perf_counter()
        said = [_received(end) for end in ends]
        took_s = time.perf_counter() - started
        for child in children:
            child.join()
    latency, passed, cpu_s = Histogram(), 0, 0.0
    for encoded, its_passed, its_cpu_s in said:
        latency.add(Histogram(encoded))
        passed += its_passed
        cpu_s += its_cpu_s
    if passed != min(limit, writers * each):
        raise VerdictError(f"{writers} writers: {passed} of {limit} passed")
    return Contention(writers, writers * each / took_s, cpu_s / writers / each * 1e6, latency, passed)


class _Said(NamedTuple):
    """What a writer reports: its latencies, as Histogram encodes them."""

    encoded: str
    passed: int
    cpu_s: float


def _received(end: Connection) -> _Said:
    if not end.poll(LONGEST_S):
        raise VerdictError(f"a writer did not end within {LONGEST_S} s")
    return _Said(*end.recv())


def _write(path: str, each: int, limit: int, barrier: Barrier, end: Connection) -> None:
    live = LiveMap.open(path)
    question = Rate("busy", ("user@example.com",), (Limit(limit, 3600), Limit(limit, 86400)), "requests", 1)
    latencies_ns, passed, now_ns = [], 0, time.perf_counter_ns
    barrier.wait(LONGEST_S)
    started = time.process_time()
    for _ in range(each):
        before = now_ns()
        passed += not live.ask(question).over
        latencies_ns.append(now_ns() - before)
    cpu_s = time.process_time() - started
    live.close()
    histogram = Histogram()
    for latency_ns in latencies_ns:
        histogram.record((latency_ns + 500) // 1000)
    end.send((histogram.encoded(), passed, cpu_s))
