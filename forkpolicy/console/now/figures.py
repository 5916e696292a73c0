"""The figures of the page Now, as data that a template, a script and a spreadsheet can take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.activity import between
from forkpolicy.console.now.kinds import DEFERRED, KINDS, OTHER, PASSED, REFUSED, kind_of
from forkpolicy.console.now.sentence import long
from forkpolicy.history.rollup_sums import SLOT_S, slot_of
from forkpolicy.scoreboard import percentile_us
from forkpolicy.status_document import StatusDocument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.console.now.now import Now
    from forkpolicy.console.now.rates import Counts
    from forkpolicy.history.search import Found
    from forkpolicy.status import Status

NEWEST: Final = 20
_HOTTEST: Final = 10
_SHADOW_PAIRS: Final = 10


class Span(NamedTuple):
    """What a plot shows: so many slots, so many of them in a point and in a row of its table."""

    slots: int
    in_point: int
    in_row: int
    unit: str
    words: str


SPANS: Final = {
    "1h": Span(6, 1, 1, "decisions in 10 minutes", "the last hour"),
    "24h": Span(144, 1, 6, "decisions in 10 minutes", "the last 24 hours"),
    "30d": Span(30 * 144, 6, 144, "decisions in an hour", "the last 30 days"),
}


def rates_of(now: Now, span: Span, known_until_s: float | None) -> tuple[Counts, dict[str, object], list[object]]:
    """The counts of a span that ends now, its plot, and the rows of its table. What the history has not taken in since
    `known_until_s` is unknown.
    """
    last = slot_of(now.clock())
    first = last - span.slots + 1
    if span.in_row > 1:
        # Rows and points begin with an hour, or a day, of the clock.
        first += -first % span.in_row - span.in_row
    counts = now.rates.counts(first, last)
    if known_until_s is not None:
        counts = counts.until(slot_of(known_until_s))
    kinds = [kind for kind in KINDS if counts.total(kind) or kind in (REFUSED, DEFERRED)]
    points = {kind: _summed(counts.kinds[kind], span.in_point) for kind in kinds}
    plot: dict[str, object] = {
        "x": [(first + at) * SLOT_S for at in range(0, last - first + 1, span.in_point)],
        "lines": [{"name": kind, "kind": kind, "values": points[kind]} for kind in kinds],
        "unit": span.unit,
    }
    sums = {kind: _summed(counts.kinds[kind], span.in_row) for kind in KINDS}
    starts = [(first + at) * SLOT_S for at in range(0, last - first + 1, span.in_row)]
    rows: list[object] = [
        {"at_s": at_s, **{kind: sums[kind][number] for kind in (REFUSED, DEFERRED, PASSED, OTHER)}}
        for number, at_s in enumerate(starts)
    ]
    return counts, plot, rows[::-1]


def _summed(column: Sequence[int | None], several: int) -> list[int | None]:
    """Sums of several slots each; None where none of them is known."""
    sums: list[int | None] = []
    for at in range(0, len(column), several):
        known = [count for count in column[at : at + several] if count is not None]
        sums.append(sum(known) if known else None)
    return sums


def hottest(now: Now, since_s: int, texts: dict[str, str]) -> list[dict[str, object]]:
    """The rules that fired most often since then. `texts`: of each rule that is in force. Raises HistoryError."""
    counts = now.rates.rules(slot_of(since_s), slot_of(now.clock()))
    return [
        {"rule": line, "text": texts.get(line, ""), "verb": verb, "kind": kind_of(verb), "decisions": count}
        for (line, verb), count in counts.most_common(_HOTTEST)
    ]


def row_of(found: Found) -> dict[str, object]:
    """One decision as a row."""
    return {
        "id": found.id,
        "at_s": found.at_ms / 1000,
        "action": found.verb,
        "client": found.client,
        "sender": found.sender,
        "recipient": found.recipient,
        "rule": found.rule,
        "host": found.host,
    }


def server_of(before: Status | None, status: Status) -> dict[str, object]:
    """What the server reports: rates since an earlier look, workers, tables, the shadow policy."""
    document = StatusDocument.of(status)
    activity = between(before, status)
    rates_s = (status.monotonic_ns - before.monotonic_ns) / 1e9 if before else 0.0
    latency = [sum(column) for column in zip(*(each.latency for each in status.workers), strict=True)]
    p50_us, p99_us = percentile_us(latency, 0.5), percentile_us(latency, 0.99)
    if activity.is_known and activity.latency_us[1]:
        p50_us, p99_us = activity.latency_us[:2]
    by_slot = {each.slot: each for each in activity.workers}
    return {
        "version": document.version,
        "uptime_s": document.uptime_s,
        "generation": document.generation,
        "policy": document.policy.policy,
        "waiting": waiting_of(status),
        # Two looks may be of one report of the server.
        "requests_s": activity.requests_s if activity.is_known and rates_s else None,
        "rates_s": rates_s or None,
        "p50_us": p50_us if any(latency) else None,
        "p99_us": p99_us if any(latency) else None,
        "latency_of": long(rates_s if activity.is_known and activity.latency_us[1] else status.uptime_s),
        "workers": [
            {
                "slot": each.slot,
                "pid": each.pid,
                "state": by_slot[each.slot].state,
                "busy_percent": round(100 * each.busy_share, 1),
                "connections": each.connections,
                "requests": each.requests,
                "requests_s": by_slot[each.slot].requests_s,
            }
            for each in document.workers
        ],
        "wanted_workers": document.wanted_workers,
        "tables": _tables(status),
        "failed_compiles": sorted(document.failed_compiles),
        "shadow": _shadow(document),
        "lost_lines": document.history.lost.pipe + document.history.lost.target if document.history else 0,
    }


def waiting_of(status: Status) -> int:
    """How many requests wait for an engine, the DNS or a service."""
    return sum(each.counters.waiting for each in status.workers)


def rules_of(status: Status) -> dict[str, str]:
    """The text of each rule by its file and line."""
    return {where: text for where, _, text in (line.partition(": ") for line in status.lines)}


def _tables(status: Status) -> list[dict[str, object]]:
    """Each once: of the worker that has it."""
    tables = {table.name: table for worker in status.workers for table in worker.tables}
    return [
        {
            "name": each.name,
            "kind": each.kind,
            "entries": each.entries if each.version else None,
            "created_s": each.created or None,
            "refused": each.refused,
            "expires": each.expires,
        }
        for each in tables.values()
    ]


def _shadow(document: StatusDocument) -> dict[str, object] | None:
    shadow = document.shadow
    if shadow is None:
        return None
    pairs = list(shadow.pairs.items())[:_SHADOW_PAIRS]
    return {
        "compared": shadow.compared,
        "differs": shadow.differs,
        "failed": shadow.failed,
        "not_compared": shadow.not_compared,
        "pairs": [{"pair": pair, "count": count} for pair, count in pairs],
    }
