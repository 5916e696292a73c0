"""The queueing model of `forkpolicy advise` against simulated queues, and the advice that it leads to."""

from __future__ import annotations

import math
import random

import pytest

from forkpolicy.queueing import Load, advise, expect, response_quantile, service_times

FAST = [(5e-6, 1000)]
MIXED = [(5e-6, 980), (300e-6, 20)]
RARE_SLOW = [(5e-6, 990), (1e-3, 10)]
EXPONENTIAL = [(-math.log(1 - (k + 0.5) / 500) * 1e-3, 1) for k in range(500)]


def simulated_p99(histogram, busy, *, requests=300_000, seed=7):
    """Lindley's recursion: one queue, random arrivals, service times in their exact proportions and random order."""
    chance = random.Random(seed)
    total = sum(weight for _, weight in histogram)
    services = [time for time, weight in histogram for _ in range(weight * requests // total)]
    chance.shuffle(services)
    per_s = busy * len(services) / sum(services)
    wait, responses = 0.0, []
    for served in services:
        responses.append(wait + served)
        wait = max(0.0, wait + served - chance.expovariate(per_s))
    return sorted(responses)[int(len(responses) * 0.99)]


@pytest.mark.parametrize("busy", [0.2, 0.5, 0.7])
@pytest.mark.parametrize(
    "histogram", [FAST, MIXED, RARE_SLOW, EXPONENTIAL], ids=["fast", "mixed", "rare_slow", "exponential"]
)
def test_p99_is_that_of_a_simulated_queue(histogram, busy):
    """The model's p99 is that of a simulation within its noise, for even, mixed and very uneven service times."""
    expected = response_quantile(service_times(histogram), busy, 1.0, 0.99)
    assert expected == pytest.approx(simulated_p99(histogram, busy), rel=0.15)


def test_exponential_service_has_its_closed_form():
    """For M/M/1 the response time is exponential with mean E[S]/(1 - busy): the model agrees within 3 %."""
    service = service_times(EXPONENTIAL)
    assert response_quantile(service, 0.7, 1.0, 0.99) == pytest.approx(math.log(100) * service.mean_s / 0.3, rel=0.03)


def test_connections_stay_with_their_workers():
    """Requests split over two workers wait as in two queues of half the rate: simulated so."""
    mean = service_times(MIXED).mean_s
    load = Load(1.2 / mean, service_times(MIXED), free_cores=4)
    assert expect(load, 2).p99_s == pytest.approx(simulated_p99(MIXED, 0.6), rel=0.15)


def test_bursts_cost_waiting_time():
    """Arrivals four times as variable as random ones make the p99 longer."""
    service = service_times(EXPONENTIAL)
    assert response_quantile(service, 0.5, 4.0, 0.99) > 2 * response_quantile(service, 0.5, 1.0, 0.99)


def test_one_worker_is_enough_for_a_quiet_server():
    """100 requests a second of 10 us: one worker, and it says so."""
    found = advise(Load(100, service_times([(10e-6, 1)]), free_cores=2), present=2, target_s=0.001)
    assert (found.recommended, found.out_of_cores) == (1, False)
    assert any("one worker is enough" in reason for reason in found.reasons)


def test_workers_that_cannot_keep_up_are_shown_as_such():
    """At 1.5 times what one worker can do, one has no p99; three of four cores are advised, with the p99 of each."""
    found = advise(Load(1500, service_times([(1e-3, 1)]), free_cores=4), present=1, target_s=0.01)
    rows = {row.workers: row for row in found.expected}
    assert rows[1].p99_s == math.inf
    assert found.recommended == 3
    assert rows[3].p99_s < rows[2].p99_s < math.inf


def test_a_machine_out_of_cores_is_told_so():
    """More work than two cores can do: no number of workers helps, and four are no better than two."""
    found = advise(Load(1900, service_times([(1e-3, 1)]), free_cores=2), present=4, target_s=0.01)
    assert found.out_of_cores
    assert found.recommended == 2
    assert any("out of cores" in reason for reason in found.reasons)
    assert found.expected[-1].p99_s == pytest.approx(expect(Load(1900, service_times([(1e-3, 1)]), 2), 2).p99_s)


def test_nothing_measured_is_nothing():
    """No requests yet: no service times."""
    assert service_times([]) is None
