"""The document of `forkpolicy status --json`: what the master reports, and what takes computing.

Declared, since scripts read it: names and shapes stay. `status_report.py` puts it into words.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.compile_failures import failures_of
from forkpolicy.documents import LEFT_OUT, left_out
from forkpolicy.feed_copies import notes_of
from forkpolicy.scoreboard import percentile_us
from forkpolicy.status import AskedStatus, ShadowStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkpolicy.compile_failures import Failures
    from forkpolicy.feed_copies import FeedNote
    from forkpolicy.status import (
        HelperStatus,
        LogStatus,
        PolicySummary,
        StateStatus,
        Status,
        TableStatus,
        WorkerCounters,
        WorkerStatus,
        ZoneStatus,
    )


MOST_DENIED = 20


@dataclass(frozen=True, slots=True)
class CountedSince:
    """`start`: the master's; a worker that is replaced counts on from its predecessor. `generation`: of the policy,
    which begins with each reload, and anew in a worker that is replaced.
    """

    workers: str = "start"
    log: str = "start"
    helpers: str = "start"
    lines: str = "generation"
    shadow: str = "generation"
    denied_senders: str = "generation"


@dataclass(frozen=True, slots=True)
class Percentiles:
    """In microseconds."""

    p50: float
    p99: float
    p999: float

    @classmethod
    def of(cls, latency: Sequence[int]) -> Percentiles:
        """Of the scoreboard's buckets."""
        return cls(*(percentile_us(latency, share) for share in (0.5, 0.99, 0.999)))


@dataclass(frozen=True, slots=True)
class WorkerDocument:
    """One worker."""

    pid: int
    slot: int
    ready: bool
    retiring: bool
    generation: int
    tables: tuple[TableStatus, ...]
    shadow: ShadowStatus | None
    actions: dict[str, int]
    connections: int
    requests: int
    errors: int
    protocol_errors: int
    busy_share: float
    latency_us: Percentiles
    counters: WorkerCounters

    @classmethod
    def of(cls, worker: WorkerStatus) -> WorkerDocument:
        """From what the master reports."""
        counters = worker.counters
        return cls(
            pid=worker.pid,
            slot=worker.slot,
            ready=worker.ready,
            retiring=worker.retiring,
            generation=worker.generation,
            tables=worker.tables,
            shadow=worker.shadow,
            actions=worker.actions,
            connections=counters.connections,
            requests=counters.requests,
            errors=counters.errors,
            protocol_errors=counters.protocol_errors,
            busy_share=round(counters.load / 1e6, 4),
            latency_us=Percentiles.of(worker.latency),
            counters=counters,
        )


@dataclass(frozen=True, slots=True)
class LineDocument:
    """A line of the policy: how often it fired, and the share of sampled requests that it was exempted from."""

    line: str
    hits: int
    exempted_share: float | None


@dataclass(frozen=True, slots=True)
class DeniedDocument:
    """A domain of senders that were denied; the count is never too high."""

    domain: str
    count: int


@dataclass(frozen=True, slots=True)
class StatusDocument:
    """All of it."""

    version: str
    pid: int
    uptime_s: float
    generation: int
    generation_age_s: float
    sockets: tuple[str, ...]
    settings: str
    policy: PolicySummary
    wanted_workers: int
    stopping: bool
    log: LogStatus
    helpers: tuple[HelperStatus, ...]
    counted_since: CountedSince = field(default_factory=CountedSince, kw_only=True)
    failed_compiles: Failures
    shadow: ShadowStatus | None
    workers: tuple[WorkerDocument, ...]
    lines: tuple[LineDocument, ...]
    denied_senders: tuple[DeniedDocument, ...]
    turn: str | None = left_out()
    state: StateStatus | None = field(default=None, metadata=LEFT_OUT)
    asked: AskedStatus | None = field(default=None, metadata=LEFT_OUT)
    zones: tuple[ZoneStatus, ...] | None = field(default=None, metadata=LEFT_OUT)
    history: LogStatus | None = field(default=None, metadata=LEFT_OUT)
    lists: dict[str, int] | None = field(default=None, metadata=LEFT_OUT)
    services: dict[str, int] | None = field(default=None, metadata=LEFT_OUT)
    feeds: tuple[FeedNote, ...] | None = field(default=None, metadata=LEFT_OUT)

    @classmethod
    def of(cls, status: Status) -> StatusDocument:
        """From what the master reports, and from what compiles have noted in the tables' directory."""
        return cls(
            version=status.version,
            pid=status.pid,
            uptime_s=status.uptime_s,
            generation=status.generation,
            generation_age_s=status.generation_age_s,
            sockets=status.sockets,
            settings=status.settings,
            policy=status.policy,
            wanted_workers=status.wanted_workers,
            stopping=status.stopping,
            log=status.log,
            helpers=status.helpers,
            failed_compiles=failures_of(status.tables_directory, status.served_tables),
            shadow=_shadow(status),
            workers=tuple(WorkerDocument.of(worker) for worker in status.workers),
            lines=tuple(_lines(status)),
            denied_senders=tuple(_denied_senders(status)),
            turn=status.turn,
            state=status.state,
            asked=_asked(status),
            zones=status.zones,
            history=status.history,
            lists=_added(worker.lists for worker in status.workers) if status.zones else None,
            services=_added(worker.services for worker in status.workers) or None,
            feeds=tuple(notes_of(Path(status.tables_directory), status.served_tables)) or None,
        )


def _shadow(status: Status) -> ShadowStatus | None:
    """The counts of the shadow policy over all workers, the most frequent pair of lines first; None without one."""
    shadows = [worker.shadow for worker in status.workers if worker.shadow]
    if not shadows:
        return None
    pairs: Counter[str] = Counter()
    for shadow in shadows:
        pairs.update(shadow.pairs)
    return ShadowStatus(
        compared=sum(shadow.compared for shadow in shadows),
        differs=sum(shadow.differs for shadow in shadows),
        failed=sum(shadow.failed for shadow in shadows),
        pairs=dict(pairs.most_common()),
        not_compared=sum(shadow.not_compared for shadow in shadows),
    )


def _asked(status: Status) -> AskedStatus | None:
    """The questions of ACLs over all workers; None where the policy asks nobody."""
    asked = [worker.asked for worker in status.workers if worker.asked]
    if status.state is None and not asked:
        return None
    answered: Counter[str] = Counter()
    for each in asked:
        answered.update(each.answered)
    return AskedStatus(
        answered=dict(sorted(answered.items())),
        seconds=sum(each.seconds for each in asked),
        times=tuple(sum(counts) for counts in zip(*(each.times for each in asked), strict=False)),
        unsent=sum(each.unsent for each in asked),
        lost=sum(each.lost for each in asked),
        evicted=sum(each.evicted for each in asked),
    )


def _added(counts: Iterable[dict[str, int] | None]) -> dict[str, int]:
    """Counts of all workers in one."""
    added: Counter[str] = Counter()
    for each in counts:
        added.update(each or {})
    return dict(sorted(added.items()))


def _denied_senders(status: Status) -> list[DeniedDocument]:
    counts: Counter[str] = Counter()
    for worker in status.workers:
        counts.update(worker.denied)
    return [DeniedDocument(domain, count) for domain, count in counts.most_common(MOST_DENIED)]


def _lines(status: Status) -> list[LineDocument]:
    serving = [worker for worker in status.workers if worker.generation == status.generation]
    sampled = sum(worker.counters.sampled for worker in serving)
    hits = _summed([worker.line_hits for worker in serving], len(status.lines))
    exempted = _summed([worker.exempted for worker in serving], len(status.lines))
    return [
        LineDocument(text, hits[number], round(exempted[number] / sampled, 4) if sampled else None)
        for number, text in enumerate(status.lines)
    ]


def _summed(rows: list[tuple[int, ...]], length: int) -> list[int]:
    return [sum(row[number] for row in rows if number < len(row)) for number in range(length)]
