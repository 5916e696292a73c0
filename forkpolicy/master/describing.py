"""What `status` shows, `top` counts and Prometheus fetches: the master's knowledge and the workers' numbers. Reads
only, waits for nobody.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkpolicy.master.generation import Generation
    from forkpolicy.master.losses import Losses
    from forkpolicy.master.spawn import Worker
    from forkpolicy.master.workers import Workers
    from forkpolicy.scoreboard import Slot


def describe(
    sockets: Iterable[str], generation: Generation, workers: Workers, losses: Losses, *, stopping: bool
) -> dict[str, Any]:
    """Everything about everyone."""
    present = sorted(workers.alive.values(), key=lambda worker: worker.slot)
    return {
        "pid": os.getpid(),
        "generation": generation.number,
        "sockets": list(sockets),
        "settings": generation.settings.path,
        "policy": generation.loaded.summary,
        "lines": generation.loaded.line_texts,
        "wanted_workers": workers.wanted,
        "stopping": stopping,
        "log": losses.describe(),
        "monotonic_ns": time.monotonic_ns(),
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
        "tables": worker.state.get("tables", []),
        "shadow": worker.state.get("shadow"),
        "counters": seen.fields,
        "actions": {verb: count for verb, count in seen.actions.items() if count},
        "latency": list(seen.latency),
        "line_hits": list(seen.line_hits),
        "exempted": list(seen.exempted),
    }
