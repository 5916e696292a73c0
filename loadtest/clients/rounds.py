"""Several servers measured in turn, round by round, so that a busy machine treats them all alike.

Each server has connections of its own that stay for all rounds, and a generator that never sleeps. What a server costs
is the least of its rounds. How two servers compare is the median of the ratios within a round. Raises VerdictError for
a wrong or a lost reply.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.clients import generator
from loadtest.errors import VerdictError
from loadtest.measure.histogram import Histogram
from loadtest.measure.processes import cpu_us, descendants, machine_busy_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from loadtest.clients.generator import Generator, Requests

WARM_UP_S = 0.3
# The log process may pause before it reads again what the last requests wrote: its work belongs to the round.
SETTLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that runs: its socket, its processes, and requests with the replies that are right for it. `asked` are
    processes that it asks itself: on the same cores, and not counted.
    """

    name: str
    path: Path
    pids: Sequence[int]
    requests: Requests
    asked: Sequence[int] = ()


@dataclass(slots=True)
class Outcome:
    """What came of all rounds of one server."""

    cpu_us: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    latency: Histogram = field(default_factory=Histogram)
    # The p99 of each round.
    p99s_us: list[int] = field(default_factory=list)
    # How late the generator was, see Load.lag.
    lag: Histogram = field(default_factory=Histogram)
    # Within the rounds: CPU time of each of the server's processes, of the generator and of the whole machine.
    process_us: dict[int, float] = field(default_factory=dict)
    generator_us: float = 0.0
    machine_us: float = 0.0
    seconds: float = 0.0

    def ratio_to(self, other: Outcome) -> float:
        """CPU per request as a multiple of another server's, as in the median round."""
        return statistics.median(mine / its for mine, its in zip(self.cpu_us, other.cpu_us, strict=True))


@dataclass(slots=True)
class Comparison:
    """An outcome for each contender, in their order, and how many cores other processes kept busy meanwhile."""

    outcomes: list[Outcome]
    others_cores: float


def in_turn(
    contenders: Sequence[Contender],
    *,
    connections: int,
    rounds: int,
    seconds: float,
    rate: float = 0.0,
    apart: bool = True,
) -> Comparison:
    """Measure each contender once in each round, in a closed loop or at `rate` requests a second.

    Unless `apart`, generators that may sleep share all cores with the servers, as clients of several workers must.
    """
    outcomes = [Outcome() for _ in contenders]
    with contextlib.ExitStack() as stack:
        if apart:
            stack.enter_context(_cores_apart(contenders))
        generators = [
            stack.enter_context(
                generator.connected(each.path, each.requests, connections=connections, never_sleep=apart)
            )
            for each in contenders
        ]
        for source in generators:
            source.round(WARM_UP_S, rate)
        began, others = time.monotonic(), _others_us()
        for _ in range(rounds):
            for contender, source, outcome in zip(contenders, generators, outcomes, strict=True):
                _measure(contender, source, outcome, seconds, rate)
        others_cores = (_others_us() - others) / 1e6 / (time.monotonic() - began)
    return Comparison(outcomes, max(0.0, others_cores))


@contextlib.contextmanager
def _cores_apart(contenders: Sequence[Contender]) -> Iterator[None]:
    """Keep the generators (our children, or ourselves) on one core and the servers on the others.

    Where the kernel chooses, a server has the generator's core for part of the time: two runs of ten rounds of the C
    echo with 32 connections on two cores, one of them busy, had medians of 5.1 and 5.4 us, and of 2.9 and 3.5 us apart.
    """
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        yield
        return
    generator_core = min(cores)
    for contender in contenders:
        for pid in (*contender.pids, *contender.asked):
            _pin(pid, cores - {generator_core})
    os.sched_setaffinity(0, {generator_core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _pin(pid: int, cores: set[int]) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def _others_us() -> float:
    """CPU time that is neither ours nor that of the servers and generators, all of which we started."""
    return machine_busy_us() - cpu_us([os.getpid(), *descendants(os.getpid())])


def _each_us(pids: Iterable[int]) -> dict[int, float]:
    return {pid: cpu_us([pid]) for pid in pids}


def _measure(contender: Contender, source: Generator, outcome: Outcome, seconds: float, rate: float) -> None:
    before, generator_before, machine_before = _each_us(contender.pids), cpu_us([source.pid]), machine_busy_us()
    load = source.round(seconds, rate)
    outcome.machine_us += machine_busy_us() - machine_before
    outcome.generator_us += cpu_us([source.pid]) - generator_before
    time.sleep(SETTLE_S)
    used = 0.0
    for pid, us in _each_us(contender.pids).items():
        used += us - before[pid]
        outcome.process_us[pid] = outcome.process_us.get(pid, 0.0) + us - before[pid]
    outcome.seconds += load.seconds
    if trouble := load.trouble(contender.requests):
        raise VerdictError(f"{contender.name}: {trouble}")
    if not load.replies:
        raise VerdictError(f"{contender.name}: no reply within {seconds:g} s")
    outcome.cpu_us.append(used / load.replies)
    outcome.rates.append(load.rate)
    outcome.latency.add(load.latency)
    outcome.p99s_us.append(load.latency.percentile(99))
    outcome.lag.add(load.lag)
