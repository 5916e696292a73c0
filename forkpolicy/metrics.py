"""What `status` knows, as Prometheus text (exposition format 0.0.4).

Pure: the reply of the master's `status` command in, text out. Every metric is declared once in METRICS; a test
compares contrib/grafana with it.

Counters carry the worker's slot as a label: they only grow within a slot, also when a worker is replaced, except the
hits of rules and the counts of a shadow policy, which restart with each worker and each generation of the policy, and
those of questions to the store, which restart with each worker; rate() and increase() handle that.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain
from math import isinf
from typing import TYPE_CHECKING, Final, Literal

from forkpolicy import __version__
from forkpolicy.expiry import end_of
from forkpolicy.scoreboard import BUCKETS, PER_POWER, bucket_limit_ns
from forkpolicy.status import ASKED_LIMITS_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from forkpolicy.compile_failures import Failures
    from forkpolicy.feed_copies import FeedNote
    from forkpolicy.status import (
        AskedStatus,
        PolicySummary,
        ShadowStatus,
        StateStatus,
        Status,
        TableStatus,
        WorkerStatus,
    )

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric's declaration."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str


# The kinds of questions that are counted by whom they ask.
WORLD: Final = ("dnsbl", "service")

METRICS: Final = (
    Metric("forkpolicy_info", "gauge", "Always 1; the running version."),
    Metric("forkpolicy_policy_info", "gauge", "Always 1; the versions of the files of policy and settings."),
    Metric("forkpolicy_uptime_seconds", "gauge", "Time since the master began; counters of workers count since then."),
    Metric(
        "forkpolicy_helper_running", "gauge", "0 while a helper process (log, metrics, networks, state) is missing."
    ),
    Metric("forkpolicy_helper_ended_total", "counter", "How often that helper process has ended."),
    Metric("forkpolicy_compile_failed_timestamp_seconds", "gauge", "When a table's last compile failed, if so."),
    Metric("forkpolicy_feed_confirmed_timestamp_seconds", "gauge", "When a table's oldest feed was last fetched."),
    Metric("forkpolicy_generation", "gauge", "Generation of the policy: one more with each finished reload."),
    Metric("forkpolicy_workers_wanted", "gauge", "How many workers there should be."),
    Metric("forkpolicy_worker_ready", "gauge", "1 while the worker serves, 0 while it starts."),
    Metric("forkpolicy_worker_generation", "gauge", "Generation of the policy that the worker serves."),
    Metric("forkpolicy_worker_age_seconds", "gauge", "Time since the worker began."),
    Metric("forkpolicy_worker_beat_age_seconds", "gauge", "Time since the worker's loop last turned; hung above 10."),
    Metric("forkpolicy_connections", "gauge", "Connections of Postfix that the worker holds."),
    Metric("forkpolicy_connections_accepted_total", "counter", "Connections accepted."),
    Metric("forkpolicy_connections_taken_total", "counter", "Connections taken over from other workers."),
    Metric("forkpolicy_connections_given_total", "counter", "Connections handed over to other workers."),
    Metric("forkpolicy_requests_total", "counter", "Requests replied to."),
    Metric("forkpolicy_replies_total", "counter", "Replies by their first word; log and score rules that fired."),
    Metric("forkpolicy_errors_total", "counter", "Requests that got on_error, and bugs."),
    Metric("forkpolicy_protocol_errors_total", "counter", "Connections ended because of an invalid request."),
    Metric("forkpolicy_log_dropped_total", "counter", "Log lines lost: the pipe was full, or the target refused them."),
    Metric(
        "forkpolicy_history_dropped_total",
        "counter",
        "Decisions that the log of [history] lost: the pipe was full, or the target refused them.",
    ),
    Metric("forkpolicy_log_waiting_bytes", "gauge", "Bytes of log lines that are not written to the target yet."),
    Metric("forkpolicy_busy_seconds_total", "counter", "Time spent on requests, from read to reply."),
    Metric("forkpolicy_cpu_seconds_total", "counter", "CPU time of the worker, its loop included."),
    Metric("forkpolicy_request_duration_seconds", "histogram", "Time of a request in the server, from read to reply."),
    Metric("forkpolicy_line_hits_total", "counter", "How often each rule fired; one that stays at 0 never fires."),
    Metric("forkpolicy_waiting", "gauge", "Requests that wait for an answer of an engine, the DNS or a service."),
    Metric("forkpolicy_sampled_requests_total", "counter", "Requests of which a sample was taken, about two a second."),
    Metric("forkpolicy_exempted_requests_total", "counter", "Sampled requests that the first ACL of a rule exempted."),
    Metric("forkpolicy_shadow_compared_total", "counter", "Requests that the shadow policy evaluated, too."),
    Metric("forkpolicy_shadow_differs_total", "counter", "Of those, requests with a different reply."),
    Metric("forkpolicy_shadow_failed_total", "counter", "Of those, requests on which one of the two failed."),
    Metric("forkpolicy_shadow_pair_differs_total", "counter", "Differences by the pair of rules responsible."),
    Metric("forkpolicy_table_info", "gauge", "Always 1; the version of the table that the worker uses."),
    Metric("forkpolicy_table_entries", "gauge", "Entries of the table that the worker uses."),
    Metric("forkpolicy_table_created_timestamp_seconds", "gauge", "When that table was compiled."),
    Metric("forkpolicy_table_expires_timestamp_seconds", "gauge", "When its first entry expires; none: no sample."),
    Metric("forkpolicy_table_refused", "gauge", "1 while the file under the table's name cannot be used."),
    Metric(
        "forkpolicy_state_up",
        "gauge",
        "0 while the state process is missing, or a worker cannot reach the engine.",
    ),
    Metric(
        "forkpolicy_state_bytes",
        "gauge",
        "Bytes of the map of what is remembered, or of the engine: used, at most.",
    ),
    Metric(
        "forkpolicy_state_entries",
        "gauge",
        "Records of what is remembered, or all keys of the engine's database.",
    ),
    Metric("forkpolicy_state_evicted_total", "counter", "Records forgotten before their time: the map was full."),
    Metric("forkpolicy_state_save_age_seconds", "gauge", "How much a power loss would forget."),
    Metric("forkpolicy_state_questions_total", "counter", "Questions to the store by kind and result."),
    Metric("forkpolicy_state_seconds", "histogram", "Time of a question to the store."),
    Metric("forkpolicy_greylist_total", "counter", "Questions of greylisting by result."),
    Metric("forkpolicy_rate_over_total", "counter", "Requests that were one too many, by the ACL of the limit."),
    Metric("forkpolicy_spf_total", "counter", "Answers of ACLs of type spf by result; failed: too late or no address."),
    Metric("forkpolicy_service_questions_total", "counter", "Questions to other policy servers by result."),
    Metric("forkpolicy_dns_questions_total", "counter", "Questions to DNS lists by zone and result."),
    Metric("forkpolicy_dns_zone_off", "gauge", "1 while a DNS list is switched off: it was shown wrong."),
)

# Field of the scoreboard -> metric, and what one unit of the field is worth.
_COUNTERS: Final = {
    "accepted": ("forkpolicy_connections_accepted_total", 1.0),
    "taken": ("forkpolicy_connections_taken_total", 1.0),
    "given": ("forkpolicy_connections_given_total", 1.0),
    "requests": ("forkpolicy_requests_total", 1.0),
    "errors": ("forkpolicy_errors_total", 1.0),
    "protocol_errors": ("forkpolicy_protocol_errors_total", 1.0),
    "busy_ns": ("forkpolicy_busy_seconds_total", 1e-9),
    "cpu_ns": ("forkpolicy_cpu_seconds_total", 1e-9),
    "connections": ("forkpolicy_connections", 1.0),
    "sampled": ("forkpolicy_sampled_requests_total", 1.0),
    "waiting": ("forkpolicy_waiting", 1.0),
}


def render(status: Status, failed: Failures, feeds: Iterable[FeedNote] = ()) -> str:
    """The page. `failed`: tables whose last compile failed; `feeds`: the lists that tables are compiled from."""
    samples: dict[str, list[str]] = {metric.name: [] for metric in METRICS}
    for name, suffix, labels, value in chain(_samples(status, failed), _of_feeds(feeds)):
        samples[name].append(f"{name}{suffix}{_labels(labels)} {_number(value)}\n")
    return "".join(_section(metric, samples[metric.name]) for metric in METRICS)


def _section(metric: Metric, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind}\n{''.join(lines)}"


Sample = tuple[str, str, Labels, float]


def _samples(status: Status, failed: Failures) -> Iterator[Sample]:
    yield "forkpolicy_info", "", {"version": __version__}, 1
    yield "forkpolicy_policy_info", "", _versions_of(status.policy), 1
    yield "forkpolicy_uptime_seconds", "", {}, status.uptime_s
    yield "forkpolicy_generation", "", {}, status.generation
    for helper in status.helpers:
        named = {"helper": helper.name}
        yield "forkpolicy_helper_running", "", named, int(bool(helper.pid))
        yield "forkpolicy_helper_ended_total", "", named, helper.ended
    for name, failure in failed.items():
        yield "forkpolicy_compile_failed_timestamp_seconds", "", {"table": name}, failure.at
    yield "forkpolicy_workers_wanted", "", {}, status.wanted_workers
    yield "forkpolicy_log_dropped_total", "", {"where": "pipe"}, status.log.lost.pipe
    yield "forkpolicy_log_dropped_total", "", {"where": "target"}, status.log.lost.target
    yield "forkpolicy_log_waiting_bytes", "", {}, status.log.waiting_bytes
    if status.history:
        yield "forkpolicy_history_dropped_total", "", {"where": "pipe"}, status.history.lost.pipe
        yield "forkpolicy_history_dropped_total", "", {"where": "target"}, status.history.lost.target
    for worker in status.workers:
        labels = {"worker": str(worker.slot)}
        yield from _of_worker(worker, labels, status.monotonic_ns)
        yield from _of_histogram(worker, labels)
        yield from _of_lines(worker, labels, status.lines)
        yield from _of_shadow(worker.shadow, labels)
        yield from _of_tables(worker.tables, labels)
        yield from _of_asked(worker.asked, labels)
        yield from _of_world("forkpolicy_dns_questions_total", "zone", worker.lists, labels)
        yield from _of_world("forkpolicy_service_questions_total", "service", worker.services, labels)
    yield from _of_state(status.state)
    for each in status.zones or ():
        yield "forkpolicy_dns_zone_off", "", {"zone": each.zone}, int(bool(each.off))


def _of_feeds(feeds: Iterable[FeedNote]) -> Iterator[Sample]:
    oldest: dict[str, float] = {}
    for note in feeds:
        oldest[note.table] = min(note.confirmed, oldest.get(note.table, note.confirmed))
    for name, confirmed in oldest.items():
        yield "forkpolicy_feed_confirmed_timestamp_seconds", "", {"table": name}, confirmed


def _of_worker(worker: WorkerStatus, labels: Labels, now_ns: int) -> Iterator[Sample]:
    counters = worker.counters
    yield "forkpolicy_worker_ready", "", labels, int(worker.ready)
    yield "forkpolicy_worker_generation", "", labels, worker.generation
    if worker.ready:
        yield "forkpolicy_worker_age_seconds", "", labels, (now_ns - counters.started_ns) / 1e9
        yield "forkpolicy_worker_beat_age_seconds", "", labels, (now_ns - counters.beat_ns) / 1e9
    for field, (name, unit) in _COUNTERS.items():
        yield name, "", labels, getattr(counters, field) * unit
    for verb, count in worker.actions.items():
        yield "forkpolicy_replies_total", "", {**labels, "action": verb}, count


def _of_histogram(worker: WorkerStatus, labels: Labels) -> Iterator[Sample]:
    """One bucket for each power of two of a microsecond: the worker's own are eight times finer."""
    name, latency = "forkpolicy_request_duration_seconds", worker.latency
    below = 0
    for bucket in range(BUCKETS - 1):
        below += latency[bucket]
        if bucket % PER_POWER == 0:
            yield name, "_bucket", {**labels, "le": f"{bucket_limit_ns(bucket) / 1e9:.10g}"}, below
    total = sum(latency)
    yield name, "_bucket", {**labels, "le": "+Inf"}, total
    yield name, "_sum", labels, (worker.counters.busy_ns + worker.counters.waited_ns) / 1e9
    yield name, "_count", labels, total


def _of_lines(worker: WorkerStatus, labels: Labels, lines: Sequence[str]) -> Iterator[Sample]:
    """`lines` are `file:line: access ...`, in the order of the hits, then the end of the policy and failures."""
    for number, line in enumerate(lines[: len(worker.line_hits)]):
        where, _, text = line.partition(": ")
        more = {**labels, "line": where}
        yield "forkpolicy_line_hits_total", "", {**more, "text": text}, worker.line_hits[number]
        statement, first, *_ = text.split()
        if statement == "access" and number < len(worker.exempted):
            yield "forkpolicy_exempted_requests_total", "", {**more, "acl": first}, worker.exempted[number]


def _of_shadow(shadow: ShadowStatus | None, labels: Labels) -> Iterator[Sample]:
    """`pairs` are named `line -> line of the shadow`."""
    if shadow is None:
        return
    for name in ("compared", "differs", "failed"):
        yield f"forkpolicy_shadow_{name}_total", "", labels, getattr(shadow, name)
    for pair, count in shadow.pairs.items():
        line, _, other = pair.partition(" -> ")
        yield "forkpolicy_shadow_pair_differs_total", "", {**labels, "line": line, "shadow": other}, count


def _versions_of(policy: PolicySummary) -> Labels:
    return {"policy": policy.version or "", "settings": policy.settings_version or ""}


def _of_tables(tables: Iterable[TableStatus], labels: Labels) -> Iterator[Sample]:
    for table in tables:
        more = {**labels, "table": table.name}
        yield "forkpolicy_table_info", "", {**more, "version": table.version}, 1
        yield "forkpolicy_table_entries", "", more, table.entries
        yield "forkpolicy_table_created_timestamp_seconds", "", more, table.created
        if table.expires:
            yield "forkpolicy_table_expires_timestamp_seconds", "", more, end_of(table.expires)
        yield "forkpolicy_table_refused", "", more, int(bool(table.refused))


def _of_state(state: StateStatus | None) -> Iterator[Sample]:
    """What is remembered, by the report of the state process or of a worker that has asked the engine."""
    if state is None:
        return
    yield "forkpolicy_state_up", "", {}, int(state.up)
    if state.engine and not state.figures.used_bytes:
        # No worker has heard of it yet.
        return
    yield "forkpolicy_state_bytes", "", {"what": "used"}, state.figures.used_bytes
    yield "forkpolicy_state_bytes", "", {"what": "max"}, state.figures.max_bytes
    yield "forkpolicy_state_entries", "", {}, state.figures.entries
    if state.save_age_s is not None:
        yield "forkpolicy_state_save_age_seconds", "", {}, state.save_age_s


def _of_asked(asked: AskedStatus | None, labels: Labels) -> Iterator[Sample]:
    """`answered` is named `KIND NAME RESULT`. No label has a key or an address; a name is one of the policy's."""
    if asked is None:
        return
    if asked.times:
        yield from _of_store(asked, labels)
    questions: Counter[tuple[str, str]] = Counter()
    over: Counter[str] = Counter()
    for named, count in asked.answered.items():
        kind, name, result = named.split(" ")
        if kind in WORLD:
            # Not the store.
            continue
        questions[kind, result] += count
        if (kind, result) == ("rate", "over"):
            over[name] += count
    for (kind, result), count in questions.items():
        more = {**labels, "result": result}
        if kind == "spf":
            yield "forkpolicy_spf_total", "", more, count
            continue
        yield "forkpolicy_state_questions_total", "", {**more, "kind": kind}, count
        if kind == "greylisting":
            yield "forkpolicy_greylist_total", "", more, count
    for name, count in over.items():
        yield "forkpolicy_rate_over_total", "", {**labels, "acl": name}, count


def _of_store(asked: AskedStatus, labels: Labels) -> Iterator[Sample]:
    """How long the store took, and what it had to forget."""
    name, below = "forkpolicy_state_seconds", 0
    for limit_s, count in zip((*ASKED_LIMITS_S, float("inf")), asked.times, strict=False):
        below += count
        yield name, "_bucket", {**labels, "le": "+Inf" if isinf(limit_s) else f"{limit_s:g}"}, below
    yield name, "_sum", labels, asked.seconds
    yield name, "_count", labels, sum(asked.times)
    yield "forkpolicy_state_evicted_total", "", labels, asked.evicted


def _of_world(name: str, label: str, asked: Mapping[str, int] | None, labels: Labels) -> Iterator[Sample]:
    """`asked` is named by who was asked and the result."""
    for named, count in (asked or {}).items():
        asked_of, _, result = named.rpartition(" ")
        yield name, "", {**labels, label: asked_of, "result": result}, count


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    # A lone surrogate (a byte that was not UTF-8 in a policy) cannot be sent as UTF-8.
    return (
        value.encode("utf-8", "backslashreplace")
        .decode()
        .replace("\\", "\\\\")
        .replace('"', '\\"')
        .replace("\n", "\\n")
    )


def _number(value: float) -> str:
    # Every digit: a time since 1970 has ten in front of the point.
    return str(int(value)) if value == int(value) else repr(value)
