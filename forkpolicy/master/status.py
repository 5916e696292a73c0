"""What `status` shows, `top` counts and Prometheus fetches: the master's knowledge and the workers' numbers. Reads
only, waits for nobody.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from forkpolicy import __version__
from forkpolicy.status import STATUS_VERSION, Status, WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkpolicy.master.generation import Generation
    from forkpolicy.master.processes.losses import Losses
    from forkpolicy.master.processes.spawn import Worker
    from forkpolicy.master.state_keeper import StateKeeper
    from forkpolicy.master.workers import Workers
    from forkpolicy.scoreboard import Slot
    from forkpolicy.status import HelperStatus, ZoneStatus


def describe(
    sockets: Iterable[str],
    generation: Generation,
    workers: Workers,
    losses: Sequence[Losses],
    helpers: tuple[HelperStatus, ...],
    keeper: StateKeeper,
    zones: tuple[ZoneStatus, ...],
    *,
    started_ns: int,
    stopping: bool,
) -> Status:
    """Everything about everyone. `losses`: of the log, and of that of `[history]`. `started_ns`: of the master, on the
    monotonic clock.
    """
    now_ns = time.monotonic_ns()
    present = sorted(workers.alive.values(), key=lambda worker: worker.slot)
    return Status(
        status_version=STATUS_VERSION,
        version=__version__,
        pid=os.getpid(),
        uptime_s=round((now_ns - started_ns) / 1e9, 1),
        generation=generation.number,
        generation_age_s=round((now_ns - generation.since_ns) / 1e9, 1),
        sockets=tuple(sockets),
        settings=generation.settings.path,
        tables_directory=generation.settings.tables,
        policy=generation.loaded.summary,
        lines=generation.loaded.line_texts,
        wanted_workers=workers.wanted,
        stopping=stopping,
        log=losses[0].describe(),
        history=losses[1].describe() if len(losses) > 1 else None,
        helpers=(*helpers, *keeper.describe_process()),
        monotonic_ns=now_ns,
        workers=tuple(_describe_worker(worker, workers.scoreboard.slot(worker.slot)) for worker in present),
        turn=workers.turn,
        state=keeper.describe([worker.state.asked for worker in present if worker.state.asked]),
        zones=zones or None,
    )


def _describe_worker(worker: Worker, slot: Slot) -> WorkerStatus:
    """One worker: what the master knows, and its numbers."""
    seen = slot.read()
    return WorkerStatus(
        pid=worker.pid,
        slot=worker.slot,
        ready=worker.ready,
        retiring=not worker.wanted,
        generation=worker.generation,
        tables=worker.state.tables,
        shadow=worker.state.shadow,
        counters=seen.counters,
        actions={verb: count for verb, count in seen.actions.items() if count},
        latency=seen.latency,
        line_hits=seen.line_hits,
        exempted=seen.exempted,
        denied=worker.state.denied,
        asked=worker.state.asked,
        lists=worker.state.lists,
        services=worker.state.services,
    )
