"""`forkpolicy advise`: watches a running server for some seconds and shows what to expect of more and fewer workers.

Reads the master's `status` twice a second and this machine's CPU times, gives both to the queueing model and prints
the table. The rate that counts is that of the busiest half second.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.commands.shared.control import REPLY_TIMEOUT_S, control_socket
from forkpolicy.commands.shared.parsers import add_json, add_settings
from forkpolicy.control_client import look
from forkpolicy.cores import usable_cores
from forkpolicy.errors import EXIT_DONE, EXIT_NO, UsageError
from forkpolicy.queueing import Load, ServiceTimes, advise, service_times
from forkpolicy.scoreboard import bucket_limit_ns

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from forkpolicy.queueing import Advice, Expectation
    from forkpolicy.status import Status, WorkerStatus

# The workers' beat: numbers change no more often.
LOOK_EVERY_S = 0.5
# With fewer a p99 means nothing.
FEWEST_REQUESTS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    add_settings(parser)
    parser.add_argument(
        "--seconds", metavar="N", type=float, default=10.0, help="how long to measure (default: %(default)s)"
    )
    parser.add_argument(
        "--target", metavar="MS", type=float, default=5.0, help="p99 to keep, in milliseconds (default: %(default)s)"
    )
    parser.add_argument(
        "--rate",
        metavar="N",
        type=float,
        default=0.0,
        help="the requests a second to compute for (default: as measured)",
    )
    parser.add_argument(
        "--burstiness",
        metavar="X",
        type=float,
        default=1.0,
        help="variance of arrivals over their mean: 1 for random ones, more for bursts (default: %(default)s)",
    )
    add_json(parser)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator asks for: looking how long, a p99 of at most, and a rate other than today's (0: today's)."""

    seconds: float
    target_s: float
    rate: float = 0.0
    burstiness: float = 1.0


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything seen: the status replies in order, and the machine's idle share meanwhile."""

    looks: Sequence[Status]
    cores: float
    busy_cores: float


def run(arguments: argparse.Namespace) -> int:
    """Watch the running master, and advise."""
    if arguments.seconds < 1 or arguments.target <= 0 or arguments.rate < 0 or arguments.burstiness < 1:
        raise UsageError("advise: --seconds and --burstiness must be at least 1, --target above 0, --rate 0 or more")
    path = control_socket(arguments)
    wish = Wish(arguments.seconds, arguments.target / 1000, arguments.rate, arguments.burstiness)
    return advise_on(lambda: look(path, REPLY_TIMEOUT_S), wish, as_json=arguments.as_json)


def advise_on(look: Callable[[], Status], wish: Wish, *, as_json: bool) -> int:
    """Watch, compute, print. Exit status 1: there was too little to see."""
    seen = watch(look, wish.seconds)
    load = load_of(seen, wish)
    if load is None:
        print(f"fewer than {FEWEST_REQUESTS} requests in {wish.seconds:g} s: too few to compute from (see --seconds)")
        return EXIT_NO
    advice = advise(load, seen.looks[-1].wanted_workers, wish.target_s)
    print(as_object(load, advice) if as_json else as_text(load, advice, seen, wish))
    return EXIT_DONE


def watch(look: Callable[[], Status], seconds: float) -> Observation:
    """Look at server and machine for some seconds."""
    looks = [look()]
    idle_before, until_s = _idle_s(), time.monotonic() + seconds
    began_s = time.monotonic()
    while time.monotonic() < until_s:
        time.sleep(LOOK_EVERY_S)
        looks.append(look())
    passed_s = time.monotonic() - began_s
    total = os.cpu_count() or 1
    busy = max(0.0, total - (_idle_s() - idle_before) / passed_s)
    return Observation(looks, usable_cores(looks[-1].pid), busy)


def load_of(seen: Observation, wish: Wish) -> Load | None:
    """What the model needs, from what was seen; None when that is too little."""
    first, last = _by_slot(seen.looks[0]), _by_slot(seen.looks[-1])
    moved = [(first[slot], last[slot]) for slot in first.keys() & last.keys()]
    requests = [after.counters.requests - before.counters.requests for before, after in moved]
    service = _service_of(moved, sum(requests))
    if service is None or sum(requests) < FEWEST_REQUESTS:
        return None
    passed_s = _passed_s(seen.looks)
    own_cores = sum(_difference(pair, "cpu_ns") for pair in moved) / 1e9 / passed_s
    return Load(
        requests_per_s=wish.rate or peak_rate(seen.looks),
        service=service,
        free_cores=max(0.1, seen.cores - max(0.0, seen.busy_cores - own_cores)),
        burstiness=wish.burstiness,
        imbalance=max(requests) * len(requests) / sum(requests),
    )


def peak_rate(looks: Sequence[Status]) -> float:
    """The highest rate between two looks: each worker's requests over the time between its own beats."""
    return max(sum(_rates(before, after)) for before, after in itertools.pairwise(looks))


def _rates(before: Status, after: Status) -> Iterator[float]:
    earlier = _by_slot(before)
    for slot, worker in _by_slot(after).items():
        if slot in earlier:
            beats_s = _difference((earlier[slot], worker), "beat_ns") / 1e9
            if beats_s > 0:
                yield _difference((earlier[slot], worker), "requests") / beats_s


def _service_of(moved: Sequence[tuple[WorkerStatus, WorkerStatus]], requests: int) -> ServiceTimes | None:
    """Service times from read to reply, and what the loop and the kernel cost in addition, by CPU time."""
    counts: dict[float, int] = {}
    for before, after in moved:
        for bucket, (was, now) in enumerate(zip(before.latency, after.latency, strict=True)):
            middle_s = (bucket_limit_ns(max(0, bucket - 1)) + bucket_limit_ns(bucket)) / 2e9
            counts[middle_s] = counts.get(middle_s, 0) + now - was
    service = service_times(counts.items())
    if service is None or not requests:
        return None
    return service.with_mean(sum(_difference(pair, "cpu_ns") for pair in moved) / 1e9 / requests)


def as_text(load: Load, advice: Advice, seen: Observation, wish: Wish) -> str:
    """For a terminal."""
    rate = f"{load.requests_per_s:,.0f} requests/s {'wanted' if wish.rate else 'at the peak'}"
    cores = f"{load.free_cores:.2g} of {seen.cores:g} cores free for workers"
    lines = [f"{rate}, {load.service.mean_s * 1e6:.1f} us each, {cores}", ""]
    lines.append(f"{'workers':>8} {'busiest':>9} {'p99':>10}")
    lines += [_row(each, advice) for each in advice.expected]
    if advice.recommended == advice.present:
        lines += ["", f"stay with {advice.present}"]
    else:
        lines += ["", f"recommended: {advice.recommended} (forkpolicy scale {advice.recommended})"]
    return "\n".join([*lines, *(f"- {reason}" for reason in advice.reasons)])


def _row(each: Expectation, advice: Advice) -> str:
    p99 = f"{each.p99_s * 1e6:,.0f} us" if math.isfinite(each.p99_s) else "overload"
    marks = {advice.present: "now", advice.recommended: "recommended"}
    return f"{each.workers:>8} {each.busy:>9.0%} {p99:>10}  {marks.get(each.workers, '')}".rstrip()


def as_object(load: Load, advice: Advice) -> str:
    """For tools; a p99 that does not exist is null."""
    rows = [{**asdict(row), "p99_s": row.p99_s if math.isfinite(row.p99_s) else None} for row in advice.expected]
    measured = {
        "requests_per_s": load.requests_per_s,
        "service_mean_s": load.service.mean_s,
        "service_variability": load.service.variability,
        "free_cores": load.free_cores,
        "imbalance": load.imbalance,
    }
    return json.dumps({**asdict(advice), "expected": rows, "measured": measured})


def _idle_s() -> float:
    """Idle and I/O-waiting time of all cores since boot."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def _by_slot(status: Status) -> dict[int, WorkerStatus]:
    return {worker.slot: worker for worker in status.workers if worker.ready}


def _difference(pair: tuple[WorkerStatus, WorkerStatus], name: str) -> int:
    before, after = (getattr(worker.counters, name) for worker in pair)
    return int(after - before)


def _passed_s(looks: Sequence[Status]) -> float:
    return float(looks[-1].monotonic_ns - looks[0].monotonic_ns) / 1e9
