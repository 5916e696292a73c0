"""`forkpolicy status` and `top`: what a running master reports about itself, in words for a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from forkpolicy import expiry
from forkpolicy.sizes import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.status import AskedStatus, HelperStatus, LogStatus, StateStatus, TableStatus
    from forkpolicy.status_document import LineDocument, StatusDocument

HOTTEST_LINES = 5
SHOWN_WAITING_BYTES = 65536
TURNS = {"c": ", connections in C", "python": ", connections in Python"}


def as_text(seen: StatusDocument) -> str:
    """One look, for a terminal."""
    since_start, since_reload = duration(seen.uptime_s), duration(seen.generation_age_s)
    head = [
        f"forkpolicy {seen.version}  master {seen.pid}  up {since_start}  {seen.settings}",
        f"sockets  {' '.join(seen.sockets)}",
        f"policy   {seen.policy.policy}  {seen.policy.lines} rules  {seen.policy.acls} ACLs",
        *([f"         {seen.policy.restricted}"] if seen.policy.restricted else []),
        f"serves   generation {seen.generation}, for {since_reload}{TURNS.get(seen.turn or '', '')}",
    ]
    return "\n".join(
        [
            *head,
            _log_row(seen.log),
            *([_log_row(seen.history, "history")] if seen.history else []),
            *_table_rows(seen),
            *_failure_rows(seen),
            *_feed_rows(seen),
            *_helper_rows(seen.helpers),
            *_shadow_rows(seen),
            *_state_rows(seen),
            *_zone_rows(seen),
            *_service_rows(seen),
            "",
            f"requests and actions since the start, {since_start} ago; busy and connections now",
            *_worker_rows(seen),
            "",
            f"hits of rules since the last reload, {since_reload} ago, or since a worker was replaced",
            *_hottest(seen.lines),
            *_exempting(seen.lines),
        ]
    )


def duration(seconds: float) -> str:
    """A time that has passed, as days and a clock: `3d 04:05:06`."""
    days, rest = divmod(int(seconds), 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}d {clock}" if days else clock


def _feed_rows(seen: StatusDocument) -> list[str]:
    """Lists of other servers, and how old they are."""
    rows = []
    for note in seen.feeds or ():
        age = duration(max(0.0, time.time() - note.confirmed))
        failing = f", CANNOT BE FETCHED: {note.reason}" if note.failing_since else ""
        rows.append(f"feed     {note.table} {note.url}: {age} old{failing}")
    return rows


def _failure_rows(seen: StatusDocument) -> list[str]:
    """Tables whose last compile failed: the one in use is older than it should be."""
    rows = []
    for name, failure in seen.failed_compiles.items():
        ago = duration(max(0.0, time.time() - failure.at))
        first, *more = failure.reason.splitlines() or [""]
        rows.append(f"compile  {name} FAILED {ago} ago: {first}{' ...' if more else ''}")
    return rows


def _helper_rows(helpers: Sequence[HelperStatus]) -> list[str]:
    """Helper processes that are missing, or have ended."""
    rows = []
    for each in helpers:
        if not each.pid or each.ended:
            state = f"process {each.pid}" if each.pid else "NOT RUNNING"
            ended = f", ended {each.ended} times since the start, last by {each.how}" if each.ended else ""
            rows.append(f"helper   {each.name}: {state}{ended}")
    return rows


def _log_row(log: LogStatus, name: str = "log") -> str:
    """A log's target, how many lines were lost, and how much waits to be written."""
    lost = ((log.lost.pipe, "because it was too slow"), (log.lost.target, "because it refused them"))
    count = log.lost.pipe + log.lost.target
    where = " and ".join(f"{lines} {why}" for lines, why in lost if lines)
    words = [log.target, f"{count} log lines lost" + (f": {where}" if count else "")]
    if log.waiting_bytes > SHOWN_WAITING_BYTES:
        words.append(f"{log.waiting_bytes} bytes waiting")
    return f"{name:8} {'  '.join(words)}"


def _shadow_rows(seen: StatusDocument) -> list[str]:
    """The shadow policy, if there is one: how often its reply differs, and which rules are responsible."""
    trial = seen.shadow
    if trial is None:
        # It failed to load.
        wanted = seen.policy.shadow
        return [f"shadow   {wanted}"] if wanted else []
    more = f", and failed on {trial.failed:,}" if trial.failed else ""
    more += f"; {trial.not_compared:,} not compared: it asks the store something else" if trial.not_compared else ""
    rows = [f"shadow   would have replied differently to {trial.differs:,} of {trial.compared:,} requests{more}"]
    return rows + [f"{count:>12}  {pair}" for pair, count in trial.pairs.items()]


def _state_rows(seen: StatusDocument) -> list[str]:
    """What the policy remembers: how full the map is, what a power loss would forget, what was asked."""
    state, asked = seen.state, seen.asked
    if state is None:
        return _answered_rows(asked)
    if state.engine:
        return _engine_rows(state) + _answered_rows(asked)
    figures = state.figures
    age = "nothing saved yet" if state.save_age_s is None else f"saved {state.save_age_s:.1f} s ago"
    share = f", {figures.used_bytes / figures.max_bytes:.0%}" if figures.max_bytes else ""
    sizes = f"{size_text(figures.used_bytes)} of {size_text(figures.max_bytes)}{share}"
    rows = [f"state    {state.live}  {figures.entries:,} records  {sizes}  {age}"]
    if not state.up:
        rows.append("state    NOT KEPT: the state process is not ready; workers go on")
    if figures.trouble:
        rows.append(f"state    NOT KEPT in {state.kept}: {figures.trouble}")
    if asked and asked.evicted:
        rows.append(f"state    {asked.evicted:,} records were forgotten before their time: raise max_size")
    if asked and asked.lost:
        rows.append(f"state    {asked.lost:,} changes wait for the hourly pass")
    return rows + _answered_rows(asked)


def _engine_rows(state: StateStatus) -> list[str]:
    """The engine that is asked in place of maps. Until a worker has heard of it there are no figures."""
    figures = state.figures
    most = f" of {size_text(figures.max_bytes)}" if figures.max_bytes else ""
    keys = f"{figures.entries:,} key{'s' * (figures.entries != 1)}"
    sizes = f"  {keys}  {size_text(figures.used_bytes)}{most}" if figures.used_bytes else ""
    rows = [f"state    {state.engine}{sizes}"]
    return rows if state.up else [*rows, "state    DOWN: a worker cannot reach the engine; the log says why"]


def _answered_rows(asked: AskedStatus | None) -> list[str]:
    return [f"{count:>12}  {named}" for named, count in asked.answered.items()] if asked else []


def _zone_rows(seen: StatusDocument) -> list[str]:
    """DNS lists: which are off, when they were tested, and what they were asked."""
    rows = []
    for zone in seen.zones or ():
        tested = "not tested yet" if zone.test_age_s is None else f"tested {duration(zone.test_age_s)} ago"
        state = f"OFF: it {zone.off}" if zone.off else "on"
        more = [f"it {zone.note}" if zone.note else "", f"last test: {zone.undecided}" if zone.undecided else ""]
        rows.append("  ".join([f"list     {zone.zone}  {state}  {tested}", *filter(None, more)]))
    return rows + [f"{count:>12}  {named}" for named, count in (seen.lists or {}).items()]


def _service_rows(seen: StatusDocument) -> list[str]:
    """Other policy servers, and what has become of questions to them."""
    rows: dict[str, list[str]] = {}
    for named, count in (seen.services or {}).items():
        endpoint, _, result = named.rpartition(" ")
        rows.setdefault(endpoint, []).append(f"{result} {count}")
    return [f"service  {endpoint}  {', '.join(results)}" for endpoint, results in rows.items()]


def _table_rows(seen: StatusDocument) -> list[str]:
    rows = []
    tables: dict[str, list[TableStatus]] = {}
    for worker in seen.workers:
        for table in worker.tables:
            tables.setdefault(table.name, []).append(table)
    for name, served in tables.items():
        versions = " ".join(sorted({table.version or "none" for table in served}))
        refused = next((f"  REFUSED: {table.refused}" for table in served if table.refused), "")
        over = next((table.expires for table in served if expiry.is_over(table.expires, expiry.today())), "")
        expired = f"  EXPIRED {over}: forkpolicy-compile {name}" if over else ""
        rows.append(f"table    {name} ({served[0].kind})  {versions}  {served[0].entries} entries{expired}{refused}")
    return rows


def _worker_rows(seen: StatusDocument) -> list[str]:
    rows = [
        f"{'worker':>6} {'pid':>8} {'gen':>4} {'conns':>6} {'requests':>12} {'busy':>6} {'p50':>9} {'p99':>9}  actions"
    ]
    for worker in seen.workers:
        latency = worker.latency_us
        actions = " ".join(f"{verb}={count}" for verb, count in sorted(worker.actions.items()))
        state = "" if worker.ready and not worker.retiring else " (leaving)" if worker.retiring else " (starting)"
        rows.append(
            f"{worker.slot:>6} {worker.pid:>8} {worker.generation:>4} {worker.connections:>6} "
            f"{worker.requests:>12} {worker.busy_share:>6.1%} {latency.p50:>7.0f}us {latency.p99:>7.0f}us  "
            f"{actions}{state}"
        )
    return rows


def _hottest(lines: Sequence[LineDocument]) -> list[str]:
    hot = sorted((line for line in lines if line.hits), key=lambda line: -line.hits)[:HOTTEST_LINES]
    return [f"{line.hits:>12}  {line.line}" for line in hot]


def _exempting(lines: Sequence[LineDocument]) -> list[str]:
    """Rules from which most requests are exempted, with the ACL that exempts: "everything looks local" shows here."""
    exempting = sorted(((line.exempted_share or 0.0, line.line) for line in lines), key=lambda each: -each[0])
    rows = []
    for share, line in exempting[:HOTTEST_LINES]:
        if not share:
            break
        where, _, text = line.partition(": ")
        # The word behind `access`; a status of another release may have a rule in other words.
        exempting_acl = "".join(text.split()[1:2])
        rows.append(f"{share:>12.1%}  of requests exempted from {where} by {exempting_acl}")
    return rows
