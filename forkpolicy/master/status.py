"""What `status` shows, `top` counts and Prometheus fetches: the master's knowledge and the workers' numbers. Reads
only, waits for nothing.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from forkpolicy import __version__
from forkpolicy.documents import plain
from forkpolicy.master.sockets.control import STATUS_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkpolicy.master.generation import Generation
    from forkpolicy.master.processes.losses import Losses
    from forkpolicy.master.processes.spawn import Worker
    from forkpolicy.master.workers import Workers
    from forkpolicy.scoreboard import Slot


def describe(
    sockets: Iterable[str],
    generation: Generation,
    workers: Workers,
    losses: Losses,
    helpers: list[dict[str, Any]],
    *,
    started_ns: int,
    stopping: bool,
) -> dict[str, Any]:
    """Everything about everyone. `started_ns`: of the master, on the monotonic clock."""
    now_ns = time.monotonic_ns()
    present = sorted(workers.alive.values(), key=lambda worker: worker.slot)
    return {
        "status_version": STATUS_VERSION,
        "version": __version__,
        "pid": os.getpid(),
        "uptime_s": round((now_ns - started_ns) / 1e9, 1),
        "generation": generation.number,
        "generation_age_s": round((now_ns - generation.since_ns) / 1e9, 1),
        "sockets": list(sockets),
        "settings": generation.settings.path,
        "tables_directory": generation.settings.tables,
        "policy": plain(generation.loaded.summary),
        "lines": generation.loaded.line_texts,
        "wanted_workers": workers.wanted,
        "stopping": stopping,
        "log": losses.describe(),
        "helpers": helpers,
        "monotonic_ns": now_ns,
        "workers": [_describe_worker(worker, workers.scoreboard.slot(worker.slot)) for worker in present],
    }


def _describe_worker(worker: Worker, slot: Slot) -> dict[str, Any]:
    """One worker: what the master knows, and its numbers."""
    seen = slot.read()
    return {
        "pid": worker.pid,
        "slot": worker.slot,
        "ready": worker.ready,
        "retiring": not worker.wanted,
        "generation": worker.generation,
        "tables": plain(worker.state.tables),
        "shadow": plain(worker.state.shadow),
        "counters": seen.fields,
        "actions": {verb: count for verb, count in seen.actions.items() if count},
        "latency": list(seen.latency),
        "line_hits": list(seen.line_hits),
        "exempted": list(seen.exempted),
    }
