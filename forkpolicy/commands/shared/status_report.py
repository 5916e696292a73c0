"""What a running master reports about itself, for a terminal and as JSON: `forkpolicy status` and `top` show it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from forkpolicy.compile_failures import failures_of
from forkpolicy.scoreboard import percentile_us

# What is taken from the master's reply as it is.
KEPT = (
    "version",
    "pid",
    "uptime_s",
    "generation",
    "generation_age_s",
    "sockets",
    "settings",
    "policy",
    "wanted_workers",
    "stopping",
    "log",
    "helpers",
)
# `start`: the master's; a worker that is replaced counts on from its predecessor. `generation`: of the policy, which
# begins with each reload, and anew in a worker that is replaced.
COUNTED_SINCE = {"workers": "start", "log": "start", "helpers": "start", "lines": "generation", "shadow": "generation"}
HOTTEST_LINES = 5
LOST_WHERE = {"pipe": "because it was too slow", "target": "because it refused them"}
SHOWN_WAITING_BYTES = 65536


def as_object(answer: dict[str, Any]) -> dict[str, Any]:
    """The reply for `--json`: numbers as they are, and those that must be computed."""
    workers = [_worker_object(worker) for worker in answer["workers"]]
    return {
        **{name: answer[name] for name in KEPT},
        "counted_since": COUNTED_SINCE,
        "failed_compiles": failures_of(answer),
        "shadow": _shadow(answer),
        "workers": workers,
        "lines": _lines(answer),
    }


def _worker_object(worker: dict[str, Any]) -> dict[str, Any]:
    counters = worker["counters"]
    return {
        **{
            name: worker[name]
            for name in ("pid", "slot", "ready", "retiring", "generation", "tables", "shadow", "actions")
        },
        "connections": counters["connections"],
        "requests": counters["requests"],
        "errors": counters["errors"],
        "protocol_errors": counters["protocol_errors"],
        "busy_share": round(counters["load"] / 1e6, 4),
        "latency_us": {
            name: percentile_us(worker["latency"], share)
            for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
        },
        "counters": counters,
    }


def _shadow(answer: dict[str, Any]) -> dict[str, Any] | None:
    """The counts of the shadow policy over all workers, the most frequent pair of lines first; None without one."""
    trials = [worker["shadow"] for worker in answer["workers"] if worker["shadow"]]
    if not trials:
        return None
    pairs: Counter[str] = Counter()
    for trial in trials:
        pairs.update(trial["pairs"])
    counts = {name: sum(trial[name] for trial in trials) for name in ("compared", "differs", "failed")}
    return {**counts, "pairs": dict(pairs.most_common())}


def _lines(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Each line of the policy: how often it fired, and the share of (sampled) requests that its first ACL exempted."""
    serving = [worker for worker in answer["workers"] if worker["generation"] == answer["generation"]]
    sampled = sum(worker["counters"]["sampled"] for worker in serving)
    hits = _summed([worker["line_hits"] for worker in serving], len(answer["lines"]))
    exempted = _summed([worker["exempted"] for worker in serving], len(answer["lines"]))
    return [
        {
            "line": text,
            "hits": hits[number],
            "exempted_share": round(exempted[number] / sampled, 4) if sampled else None,
        }
        for number, text in enumerate(answer["lines"])
    ]


def _summed(rows: list[list[int]], length: int) -> list[int]:
    return [sum(row[number] for row in rows if number < len(row)) for number in range(length)]


def as_text(seen: dict[str, Any]) -> str:
    """One look, for a terminal: what `as_object` has."""
    since_start, since_reload = duration(seen["uptime_s"]), duration(seen["generation_age_s"])
    head = [
        f"forkpolicy {seen['version']}  master {seen['pid']}  up {since_start}  {seen['settings']}",
        f"sockets  {' '.join(seen['sockets'])}",
        f"policy   {seen['policy']['policy']}  {seen['policy']['lines']} rules  {seen['policy']['acls']} ACLs",
        f"serves   generation {seen['generation']}, for {since_reload}",
    ]
    return "\n".join(
        [
            *head,
            _log_row(seen["log"]),
            *_table_rows(seen),
            *_failure_rows(seen),
            *_helper_rows(seen["helpers"]),
            *_shadow_rows(seen),
            "",
            f"requests and actions since the start, {since_start} ago; busy and connections now",
            *_worker_rows(seen),
            "",
            f"hits of rules since the last reload, {since_reload} ago, or since a worker was replaced",
            *_hottest(seen["lines"]),
            *_exempting(seen["lines"]),
        ]
    )


def duration(seconds: float) -> str:
    """A time that has passed, as days and a clock: `3d 04:05:06`."""
    days, rest = divmod(int(seconds), 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}d {clock}" if days else clock


def _failure_rows(seen: dict[str, Any]) -> list[str]:
    """Tables whose last compile failed: the one in use is older than it should be."""
    rows = []
    for name, failure in seen["failed_compiles"].items():
        ago = duration(max(0.0, time.time() - failure["at"]))
        first, *more = failure["reason"].splitlines() or [""]
        rows.append(f"compile  {name} FAILED {ago} ago: {first}{' ...' if more else ''}")
    return rows


def _helper_rows(helpers: list[dict[str, Any]]) -> list[str]:
    """Helper processes that are missing, or have ended."""
    rows = []
    for each in helpers:
        if not each["pid"] or each["ended"]:
            state = f"process {each['pid']}" if each["pid"] else "NOT RUNNING"
            ended = f", ended {each['ended']} times since the start, last by {each['how']}" if each["ended"] else ""
            rows.append(f"helper   {each['name']}: {state}{ended}")
    return rows


def _log_row(log: dict[str, Any]) -> str:
    """The log's target, how many lines were lost, and how much waits to be written."""
    lost = log["lost"]
    count = sum(lost.values())
    where = " and ".join(f"{lost[name]} {why}" for name, why in LOST_WHERE.items() if lost[name])
    words = [log["target"], f"{count} log lines lost" + (f": {where}" if count else "")]
    if log["waiting_bytes"] > SHOWN_WAITING_BYTES:
        words.append(f"{log['waiting_bytes']} bytes waiting")
    return f"log      {'  '.join(words)}"


def _shadow_rows(seen: dict[str, Any]) -> list[str]:
    """The shadow policy, if there is one: how often its reply differs, and which rules are responsible."""
    trial = seen["shadow"]
    if trial is None:
        # It failed to load.
        wanted = seen["policy"].get("shadow")
        return [f"shadow   {wanted}"] if wanted else []
    more = f", and failed on {trial['failed']:,}" if trial["failed"] else ""
    rows = [f"shadow   would have replied differently to {trial['differs']:,} of {trial['compared']:,} requests{more}"]
    return rows + [f"{count:>12}  {pair}" for pair, count in trial["pairs"].items()]


def _table_rows(seen: dict[str, Any]) -> list[str]:
    rows = []
    for name in {table["name"]: None for worker in seen["workers"] for table in worker["tables"]}:
        served = [table for worker in seen["workers"] for table in worker["tables"] if table["name"] == name]
        versions = " ".join(sorted({table["version"] or "none" for table in served}))
        refused = next((f"  REFUSED: {table['refused']}" for table in served if table["refused"]), "")
        rows.append(f"table    {name} ({served[0]['kind']})  {versions}  {served[0]['entries']} entries{refused}")
    return rows


def _worker_rows(seen: dict[str, Any]) -> list[str]:
    rows = [
        f"{'worker':>6} {'pid':>8} {'gen':>4} {'conns':>6} {'requests':>12} {'busy':>6} {'p50':>9} {'p99':>9}  actions"
    ]
    for worker in seen["workers"]:
        latency = worker["latency_us"]
        actions = " ".join(f"{verb}={count}" for verb, count in sorted(worker["actions"].items()))
        state = (
            "" if worker["ready"] and not worker["retiring"] else " (leaving)" if worker["retiring"] else " (starting)"
        )
        rows.append(
            f"{worker['slot']:>6} {worker['pid']:>8} {worker['generation']:>4} {worker['connections']:>6} "
            f"{worker['requests']:>12} {worker['busy_share']:>6.1%} {latency['p50']:>7.0f}us {latency['p99']:>7.0f}us  "
            f"{actions}{state}"
        )
    return rows


def _hottest(lines: list[dict[str, Any]]) -> list[str]:
    hot = sorted((line for line in lines if line["hits"]), key=lambda line: -line["hits"])[:HOTTEST_LINES]
    return [f"{line['hits']:>12}  {line['line']}" for line in hot]


def _exempting(lines: list[dict[str, Any]]) -> list[str]:
    """Rules from which most requests are exempted, with the ACL that exempts: "everything looks local" shows here."""
    exempting = sorted((line for line in lines if line["exempted_share"]), key=lambda line: -line["exempted_share"])
    rows = []
    for line in exempting[:HOTTEST_LINES]:
        where, _, text = line["line"].partition(": ")
        rows.append(f"{line['exempted_share']:>12.1%}  of requests exempted from {where} by {text.split()[1]}")
    return rows
