"""What workers report, and what the master notes of it: who is ready, what it serves, how far it is with a reload.

Called by `Workers` with each message. Raises whatever comes of one that is not valid: such a worker is killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.link import Message
    from forkpolicy.log import LogPipe
    from forkpolicy.master.generation import Generation
    from forkpolicy.master.processes.spawn import Worker
    from forkpolicy.master.reload import Reloader


class WorkerMessages:
    """`on_ready` is called when a worker serves, `on_unfit` with the reason of one that cannot."""

    def __init__(
        self,
        generation: Generation,
        reloader: Reloader,
        log: LogPipe,
        on_ready: Callable[[], None],
        on_unfit: Callable[[str], None],
    ) -> None:
        self._generation = generation
        self._reloader = reloader
        self._log = log
        self._on_ready = on_ready
        self._on_unfit = on_unfit

    def handle(self, worker: Worker, message: Message) -> None:
        """Act on one message."""
        if not isinstance(message.get("state", {}), dict):
            raise TypeError("the state is not a map")
        self.HANDLERS[message["is"]](self, worker, message)

    def _ready(self, worker: Worker, message: Message) -> None:
        """It serves."""
        worker.ready = True
        worker.state = message["state"]
        self._log.event("info", "worker ready", worker=worker.slot, worker_pid=worker.pid)
        self._on_ready()

    def _state(self, worker: Worker, message: Message) -> None:
        """It serves other tables."""
        worker.state = message["state"]

    def _prepared(self, worker: Worker, message: Message) -> None:
        """It has prepared a reload, or reports why it cannot."""
        self._reloader.prepared(worker.pid, message["generation"], message["diagnostics"])

    def _committed(self, worker: Worker, message: Message) -> None:
        """It serves the new generation."""
        worker.generation = message["generation"]
        worker.state = message["state"]
        self._reloader.committed(worker.pid)

    def _retiring(self, worker: Worker, message: Message) -> None:
        """It ends by itself (requests, memory, a signal); another takes its place."""
        worker.mark_ending()
        self._log.event("info", "worker retires", worker=worker.slot, worker_pid=worker.pid, reason=message["reason"])

    def _table(self, worker: Worker, message: Message) -> None:
        """It serves this file, and passes it on."""
        path, fd = message["path"], worker.take_fd()
        if fd is not None:
            self._generation.tables.keep(path, fd, self._reloader.table_paths)

    def _unfit(self, worker: Worker, message: Message) -> None:
        """It cannot open all tables."""
        worker.mark_ending()
        self._on_unfit(message["reason"])

    HANDLERS: ClassVar[dict[str, Callable[[WorkerMessages, Worker, Message], None]]] = {
        "ready": _ready,
        "table": _table,
        "unfit": _unfit,
        "state": _state,
        "prepared": _prepared,
        "committed": _committed,
        "retiring": _retiring,
    }
