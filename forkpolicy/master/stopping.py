"""The end of a master that serves: no client connects any more, every worker answers what it has read and what waits
in the queues, and ends. A worker that does not end in time is killed.

A master that was replaced has nothing to answer: its workers hand their connections over, for as long as they may.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forkpolicy.log import LogPipe
    from forkpolicy.master.sockets.inherited import InheritedSockets
    from forkpolicy.master.workers import Workers
    from forkpolicy.notify import Notifier

STOP_TIMEOUT_S = 10.0


class Stopper:
    """Whether the end has begun, and until when it may last."""

    def __init__(self, sockets: InheritedSockets, workers: Workers, log: LogPipe, notifier: Notifier) -> None:
        self._sockets = sockets
        self._workers = workers
        self._log = log
        self._notifier = notifier
        self._deadline_s: float | None = None

    @property
    def under_way(self) -> bool:
        """Whether the end has begun."""
        return self._deadline_s is not None

    def begin(self, *, replaced: bool) -> None:
        """Stop. A second call begins again."""
        self._deadline_s = time.monotonic() + STOP_TIMEOUT_S
        # A socket of systemd keeps its queue for the next start.
        ours = not self._sockets.activated
        for listener in self._sockets.listeners if ours and not replaced else ():
            listener.refuse()
        if not replaced:
            self._workers.stop_all(drain=ours)
        # Not before the queue is closed and each worker has been sent its message: readers of the log may rely on that.
        self._log.event("info", "stopping", workers=len(self._workers))
        self._notifier.stopping()

    def kill(self, reason: str) -> None:
        """Kill every worker now."""
        self._workers.kill_all(reason)
        self._deadline_s = time.monotonic() + STOP_TIMEOUT_S

    def tick(self, now_s: float) -> None:
        """Wait no longer than it may take."""
        if self._deadline_s is not None and now_s > self._deadline_s:
            self.kill("did not stop in time")
