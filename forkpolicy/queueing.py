"""How many workers: what to expect of N-1, N, N+1 of them, from what was measured of the running ones.

A connection stays with its worker, so N workers are N queues, not one queue with N servers: a request waits behind
those of its own worker even while another is idle. Each is an M/G/1 queue: requests come at random, one after
another is served, service times are distributed as measured. The distribution of the waiting time is computed from
the Pollaczek-Khinchine formula as a compound geometric sum of residual service times; burstier arrivals than random
ones stretch it by Kingman's ratio. More workers than free cores take turns on them, so they count as that many.

Pure: numbers in, `Advice` out. `forkpolicy advise` measures and prints. Raises nothing.
"""

from __future__ import annotations

import bisect
import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

QUANTILE = 0.99
# Points of the grid on which waiting times are computed: errors below 1 % where it was compared with simulation.
GRID = 400
# Above this share of its time a worker's waiting times explode with the smallest burst.
MOST_BUSY = 0.7
# More kinds of requests than this are merged before computing: nothing is lost, a p99 has three digits at most.
MOST_ATOMS = 48
MAX_WORKERS = 512


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """How long requests keep a worker busy: distinct times in seconds, ascending, and the share of each."""

    times_s: tuple[float, ...]
    shares: tuple[float, ...]

    @property
    def mean_s(self) -> float:
        """The mean service time."""
        return math.fsum(time_s * share for time_s, share in zip(self.times_s, self.shares, strict=True))

    @property
    def variability(self) -> float:
        """The squared coefficient of variation: 0 for equal times, 1 for exponential ones."""
        square = math.fsum(time_s**2 * share for time_s, share in zip(self.times_s, self.shares, strict=True))
        return max(0.0, square / self.mean_s**2 - 1)

    def with_mean(self, mean_s: float) -> ServiceTimes:
        """The same distribution with another mean: the cost of the loop is added to every request."""
        added_s = mean_s - self.mean_s
        if added_s <= 0:
            return self
        return replace(self, times_s=tuple(time_s + added_s for time_s in self.times_s))


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured. `burstiness` is the variance of the number of arrivals over its mean: 1 for random ones.

    `imbalance` is what the busiest worker gets over the mean; `free_cores` what the machine leaves for the workers.
    """

    requests_per_s: float
    service: ServiceTimes
    free_cores: float
    burstiness: float = 1.0
    imbalance: float = 1.0


@dataclass(frozen=True, slots=True)
class Expectation:
    """What to expect with a number of workers. `p99_s` is infinite where they cannot keep up."""

    workers: int
    busy: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Advice:
    """Expectations around the present number, the number to run, and why."""

    present: int
    recommended: int
    expected: tuple[Expectation, ...]
    out_of_cores: bool
    reasons: tuple[str, ...]


def service_times(histogram: Iterable[tuple[float, int]]) -> ServiceTimes | None:
    """Service times from a histogram of (seconds, requests); None when it is empty."""
    counted = sorted((time_s, count) for time_s, count in histogram if count)
    total = sum(count for _, count in counted)
    if not total:
        return None
    atoms = _merged(counted, total)
    return ServiceTimes(tuple(time_s for time_s, _ in atoms), tuple(share for _, share in atoms))


def expect(load: Load, workers: int, quantile: float = QUANTILE) -> Expectation:
    """Busy share of the busiest worker and the quantile of the time that its requests spend in the server."""
    servers = min(float(workers), load.free_cores)
    imbalance = load.imbalance if workers > 1 else 1.0
    busy = load.requests_per_s * load.service.mean_s / servers * imbalance
    if busy >= 1:
        return Expectation(workers, busy, math.inf)
    return Expectation(workers, busy, response_quantile(load.service, busy, load.burstiness, quantile))


def response_quantile(service: ServiceTimes, busy: float, bursts: float, quantile: float) -> float:
    """The quantile of waiting plus service in one queue whose server is `busy` (below 1) of its time, in seconds."""
    stretch = (bursts + service.variability) / (1 + service.variability)
    mean_wait_s = busy / (1 - busy) * service.mean_s * (1 + service.variability) / 2
    horizon_s = service.times_s[-1] + 3 * mean_wait_s
    while (found_s := _quantile_within(service, busy, stretch, quantile, horizon_s)) is None:
        horizon_s *= 2
    # Once more, on a grid that ends where it matters.
    return _quantile_within(service, busy, stretch, quantile, found_s * 1.3) or found_s


def advise(load: Load, present: int, target_s: float) -> Advice:
    """The least number of workers whose p99 stays within `target_s` and whose busiest has room for a burst."""
    best = next((n for n in range(1, MAX_WORKERS + 1) if _good_enough(load, n, target_s)), None)
    most_useful = max(1, math.ceil(load.free_cores))
    out_of_cores = best is None or best > most_useful
    recommended = most_useful if best is None else min(best, most_useful)
    around = sorted({1, present - 1, present, present + 1, present + 2, recommended} & set(range(1, MAX_WORKERS + 1)))
    expected = tuple(expect(load, workers) for workers in around)
    reasons = tuple(_reasons(load, present, recommended, out_of_cores))
    return Advice(present, recommended, expected, out_of_cores, reasons)


def _good_enough(load: Load, workers: int, target_s: float) -> bool:
    if workers > math.ceil(load.free_cores):
        return False
    found = expect(load, workers)
    return found.busy <= MOST_BUSY and found.p99_s <= target_s


def _reasons(load: Load, present: int, recommended: int, out_of_cores: bool) -> Iterable[str]:
    needed = load.requests_per_s * load.service.mean_s
    yield f"{load.requests_per_s:.4g} requests/s at {load.service.mean_s * 1e6:.4g} us keep {needed:.2g} cores busy"
    if out_of_cores:
        yield f"the machine is out of cores: {load.free_cores:.2g} are free for workers, and more workers take turns"
    elif recommended == 1:
        yield "one worker is enough; a second one keeps serving while the first is replaced"
    if present > math.ceil(load.free_cores):
        yield f"{present} workers are more than the {load.free_cores:.2g} cores that are free for them"
    if load.burstiness > 4:
        yield f"requests come in bursts: {load.burstiness:.2g} times as variable as random arrivals"


def _merged(counted: list[tuple[float, int]], total: int) -> list[tuple[float, float]]:
    """At most MOST_ATOMS (time, share): neighbours in logarithmic classes become their mean."""
    first, last = max(counted[0][0], 1e-9), max(counted[-1][0], 1e-9)
    width = math.log(last / first) / MOST_ATOMS or 1.0
    atoms = []
    for _, group in itertools.groupby(counted, lambda each: int(math.log(max(each[0], 1e-9) / first) / width)):
        members = list(group)
        count = sum(each[1] for each in members)
        atoms.append((sum(time_s * each for time_s, each in members) / count, count / total))
    return atoms


def _quantile_within(
    service: ServiceTimes, busy: float, stretch: float, quantile: float, horizon_s: float
) -> float | None:
    """The quantile if it is below the horizon. P(W + S > t) = sum of share(s) P(W > t - s)."""
    step_s = horizon_s / GRID
    tails = _waiting_tails(service, busy, step_s / stretch)

    def exceeds(time_s: float) -> float:
        total = 0.0
        for served_s, share in zip(service.times_s, service.shares, strict=True):
            rest = (time_s - served_s) / step_s
            total += share * (1.0 if rest < 0 else _between(tails, rest))
        return total

    points = range(GRID)
    at = bisect.bisect_left(points, quantile, key=lambda point: 1 - exceeds(point * step_s))
    return at * step_s if at < GRID else None


def _waiting_tails(service: ServiceTimes, busy: float, step_s: float) -> list[float]:
    """P(W > k steps) for each point: Panjer's recursion for a geometric number of residual service times."""
    residual = _residual(service, step_s)
    denominator = 1 - busy * residual[0]
    masses = [(1 - busy) / denominator]
    factor = busy / denominator
    backwards = residual[:0:-1]
    for k in range(1, GRID):
        masses.append(factor * sum(map(float.__mul__, backwards[GRID - 1 - k :], masses)))
    return [max(0.0, 1 - done) for done in itertools.accumulate(masses)]


def _residual(service: ServiceTimes, step_s: float) -> list[float]:
    """What is left of the service that an arrival finds: masses at the points of the grid, nearest point."""
    mean_s = service.mean_s

    def below(time_s: float) -> float:
        return (
            sum(share * min(time_s, each_s) for each_s, share in zip(service.times_s, service.shares, strict=True))
            / mean_s
        )

    edges = [below((k + 0.5) * step_s) for k in range(GRID)]
    return [edges[0], *(after - before for before, after in itertools.pairwise(edges))]


def _between(tails: Sequence[float], at: float) -> float:
    low = int(at)
    if low + 1 >= len(tails):
        return tails[-1]
    return tails[low] + (tails[low + 1] - tails[low]) * (at - low)
