"""What `forkpolicy advise` makes of two looks at a server, and how it says so."""

from __future__ import annotations

import json

import pytest

from forkpolicy.commands.advise import Observation, Wish, advise_on, as_object, as_text, load_of, peak_rate
from forkpolicy.queueing import advise
from forkpolicy.scoreboard import BUCKETS, bucket_of
from tests import statuses

WISH = Wish(seconds=1.0, target_s=0.005)


def worker(slot, at_s, requests, *, service_ns=100_000, cpu_ns=120_000):
    latency = [0] * BUCKETS
    latency[bucket_of(service_ns)] = requests
    counters = {"requests": requests, "cpu_ns": requests * cpu_ns, "beat_ns": int(at_s * 1e9)}
    return statuses.worker(counters, slot=slot, latency=tuple(latency))


def look(at_s, *workers):
    return statuses.status(*workers, pid=1, monotonic_ns=int(at_s * 1e9), wanted_workers=len(workers))


def observed(*looks, cores=4.0, busy_cores=0.5):
    return Observation(looks, cores, busy_cores)


def test_load_is_what_happened_between_the_looks():
    """Rate by the workers' own beats, service time with what the loop costs, imbalance, and cores that others leave."""
    seen = observed(
        look(10.0, worker(0, 10.0, 500), worker(1, 10.0, 100)),
        look(11.0, worker(0, 11.0, 1400), worker(1, 11.0, 400)),
    )
    load = load_of(seen, WISH)
    assert load.requests_per_s == pytest.approx(1200)
    assert load.service.mean_s == pytest.approx(120e-6, rel=0.02)
    assert load.imbalance == pytest.approx(1.5)
    # 0.5 cores were busy, 0.144 of them with this server.
    assert load.free_cores == pytest.approx(4 - (0.5 - 0.144))


def test_the_busiest_half_second_counts():
    """A quiet second next to a busy one does not halve the rate."""
    looks = [look(at, worker(0, at, requests)) for at, requests in ((0.0, 0), (0.5, 100), (1.0, 1100), (1.5, 1200))]
    assert peak_rate(looks) == pytest.approx(2000)


def test_a_beat_that_has_not_come_is_no_rate():
    """Two looks within one beat say nothing, and divide by nothing."""
    assert peak_rate([look(0.0, worker(0, 5.0, 100)), look(0.1, worker(0, 5.0, 100))]) == 0


def test_too_little_to_see_is_said(capsys):
    """Fewer than a hundred requests: no advice, exit status 1."""
    still = look(1.0, worker(0, 1.0, 50))
    assert load_of(observed(still, still), WISH) is None
    assert advise_on(lambda: look(1.0, worker(0, 1.0, 50)), Wish(0.01, 0.005), as_json=False) == 1
    assert "too few to compute from" in capsys.readouterr().out


def test_output_for_people_and_for_tools():
    """The table marks the present and the recommended number; overload has no p99, in JSON null."""
    seen = observed(look(0.0, worker(0, 0.0, 0)), look(1.0, worker(0, 1.0, 1000)))
    wish = Wish(1.0, 0.005, rate=10_000)
    load = load_of(seen, wish)
    advice = advise(load, 1, wish.target_s)
    text = as_text(load, advice, seen, wish)
    assert "10,000 requests/s wanted" in text
    assert "overload  now" in text
    assert "recommended" in text
    rows = json.loads(as_object(load, advice))["expected"]
    assert rows[0]["p99_s"] is None
    assert rows[-1]["p99_s"] > 0
