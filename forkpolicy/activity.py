"""What happened between two looks at a master, as rates. Pure.

A worker copies its counters twice a second, so its rates are over the time between its own beats. Hits and denied
domains begin anew with a worker and with a generation of the policy; a count of domains may also go down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.scoreboard import percentile_us

if TYPE_CHECKING:
    from forkpolicy.status import Status, WorkerStatus

SHARES = (0.5, 0.99, 0.999)
Pair = tuple["WorkerStatus | None", "WorkerStatus"]


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker; its rates are None where there is nothing to compare with."""

    slot: int
    pid: int
    state: str
    generation: int
    connections: int
    requests_s: float | None
    busy: float | None
    latency_us: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """A rule, or a domain: how often a second, and in all."""

    text: str
    per_s: float | None
    total: int


@dataclass(frozen=True, slots=True)
class Activity:
    """All of it. `is_known`: there was an earlier look at the same master."""

    is_known: bool
    requests_s: float
    latency_us: tuple[float, ...]
    actions_s: dict[str, float]
    workers: list[Worker]
    rules: list[Counted]
    domains: list[Counted]


def between(before: Status | None, now: Status) -> Activity:
    """The activity from one look to the next. Another master counts from the start."""
    earlier = {each.slot: each for each in before.workers} if before and before.pid == now.pid else {}
    pairs = [(earlier.get(each.slot), each) for each in now.workers]
    workers = [_worker(then, each) for then, each in pairs]
    actions: dict[str, float] = {}
    for then, each in pairs:
        for verb, count in each.actions.items():
            if then and (seconds := _seconds(then, each)):
                actions[verb] = actions.get(verb, 0.0) + (count - then.actions.get(verb, 0)) / seconds
    latencies = [_latency(then, each) for then, each in pairs if then]
    return Activity(
        bool(earlier),
        sum(each.requests_s or 0.0 for each in workers),
        _percentiles([sum(column) for column in zip(*latencies, strict=True)]),
        actions,
        workers,
        _rules(pairs, now, is_known=bool(earlier)),
        _domains(pairs, is_known=bool(earlier)),
    )


def _seconds(then: WorkerStatus, now: WorkerStatus) -> float:
    return float(now.counters.beat_ns - then.counters.beat_ns) / 1e9


def _latency(then: WorkerStatus, now: WorkerStatus) -> list[int]:
    return [count - was for count, was in zip(now.latency, then.latency, strict=True)]


def _percentiles(latency: list[int]) -> tuple[float, ...]:
    return tuple(percentile_us(latency, share) for share in SHARES)


def _worker(then: WorkerStatus | None, now: WorkerStatus) -> Worker:
    counters = now.counters
    state = "leaving" if now.retiring else "" if now.ready else "starting"
    seconds = _seconds(then, now) if then else 0.0
    requests_s = busy = None
    if then and seconds > 0:
        requests_s = (counters.requests - then.counters.requests) / seconds
        busy = (counters.cpu_ns - then.counters.cpu_ns) / 1e9 / seconds
    latency = _percentiles(_latency(then, now) if then else [])
    head = (now.slot, now.pid, state, now.generation, counters.connections)
    return Worker(*head, requests_s, busy, latency)


def _same(then: WorkerStatus | None, now: WorkerStatus) -> bool:
    return then is not None and (then.pid, then.generation) == (now.pid, now.generation)


def _per_s(then: WorkerStatus | None, now: WorkerStatus, was: int, count: int) -> float:
    seconds = _seconds(then, now) if then else 0.0
    return max(0, count - was) / seconds if seconds > 0 else 0.0


def _rules(pairs: list[Pair], now: Status, *, is_known: bool) -> list[Counted]:
    serving = [pair for pair in pairs if pair[1].generation == now.generation]
    rules = []
    for number, text in enumerate(now.lines):
        total, per_s = 0, 0.0
        for then, each in serving:
            hits = each.line_hits
            if number < len(hits):
                was = then.line_hits[number] if then and _same(then, each) else 0
                total += hits[number]
                per_s += _per_s(then, each, was, hits[number])
        rules.append(Counted(text, per_s if is_known else None, total))
    return rules


def _domains(pairs: list[Pair], *, is_known: bool) -> list[Counted]:
    totals: dict[str, int] = {}
    rates: dict[str, float] = {}
    for then, each in pairs:
        for domain, count in each.denied.items():
            was = then.denied.get(domain, 0) if then and _same(then, each) else 0
            totals[domain] = totals.get(domain, 0) + count
            rates[domain] = rates.get(domain, 0.0) + _per_s(then, each, was, count)
    return [Counted(domain, rates[domain] if is_known else None, total) for domain, total in totals.items()]
