"""What workers report, and what the master notes of it: who is ready, what it serves, how far it is with a reload.

Called by `Workers` with each message, which is a valid one. Raises nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from forkpolicy.messages import (
    Committed,
    Prepared,
    ProbedZones,
    Ready,
    Retiring,
    ServedTable,
    StateChanged,
    Unfit,
    ZoneRefuses,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.log import LogPipe
    from forkpolicy.master.generation import Generation
    from forkpolicy.master.processes.spawn import Worker
    from forkpolicy.master.reload import Reloader
    from forkpolicy.master.zones import Zones
    from forkpolicy.messages import ToMaster
    from forkpolicy.status import WorkerState


class WorkerMessages:
    """`on_ready` is called when a worker serves, `on_unfit` with the reason of one that cannot."""

    def __init__(
        self,
        generation: Generation,
        reloader: Reloader,
        zones: Zones,
        log: LogPipe,
        on_ready: Callable[[], None],
        on_unfit: Callable[[str], None],
    ) -> None:
        self._generation = generation
        self._reloader = reloader
        self._zones = zones
        self._log = log
        self._on_ready = on_ready
        self._on_unfit = on_unfit

    def handle(self, worker: Worker, message: ToMaster) -> None:
        """Act on one message."""
        match message:
            case Ready(state):
                self._ready(worker, state)
            case StateChanged(state):
                worker.state = state
            case Prepared(generation, diagnostics):
                self._reloader.prepared(worker.pid, generation, diagnostics)
            case Committed(generation, state):
                self._committed(worker, generation, state)
            case Retiring(reason):
                self._retiring(worker, reason)
            case ServedTable(path):
                self._table(worker, path)
            case ProbedZones(tests):
                self._zones.tested(worker, tests)
            case ZoneRefuses(zone, why):
                self._zones.refuses(zone, why)
            case Unfit(reason):
                worker.mark_ending()
                self._on_unfit(reason)
            case _:
                assert_never(message)

    def _ready(self, worker: Worker, state: WorkerState) -> None:
        worker.mark_ready()
        worker.state = state
        self._log.event("info", "worker ready", worker=worker.slot, worker_pid=worker.pid)
        self._on_ready()

    def _committed(self, worker: Worker, generation: int, state: WorkerState) -> None:
        worker.generation = generation
        worker.state = state
        self._reloader.committed(worker.pid, generation)

    def _retiring(self, worker: Worker, reason: str) -> None:
        """Another takes its place."""
        worker.mark_ending()
        self._log.event("info", "worker retires", worker=worker.slot, worker_pid=worker.pid, reason=reason)

    def _table(self, worker: Worker, path: str) -> None:
        fd = worker.take_fd()
        if fd is not None:
            self._generation.tables.keep(path, fd, self._reloader.table_paths)
