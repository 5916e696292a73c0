"""The processes beside the workers: the log, the metrics, and a companion if there is one. Started, and started again
when they end.

Raises nothing: what cannot be started is logged and tried again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from forkpolicy.master.processes.waitpid import how

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from forkpolicy.log import LogPipe
    from forkpolicy.master.processes.exporter import Exporter
    from forkpolicy.master.processes.helper_process import Companion
    from forkpolicy.master.processes.logger import Logger

    Drop = list[Callable[[], None]]

# A metrics process that ends is started again, but no more often than this.
EXPORTER_DELAY_S = 1.0


class Attendants:
    """All of them."""

    def __init__(self, logger: Logger, exporter: Exporter | None, companion: Companion | None, log: LogPipe) -> None:
        self._logger = logger
        self._exporter = exporter
        self._companion = companion
        self._log = log
        self._exporter_at_s = 0.0
        # How often each has ended, and how it did last.
        self._ends: dict[str, tuple[int, str]] = {}

    @property
    def dropped_by_workers(self) -> Drop:
        """What a worker closes of theirs."""
        metrics = self._exporter.listeners if self._exporter else []
        return [self._logger.drop_in_child, *(each.sock.close for each in metrics)]

    def keep(self, now_s: float, adopt: Callable[[socket.socket], None]) -> None:
        """Start who is missing. `adopt` gets the connection on which the metrics process asks for `status`."""
        if not self._logger.pid:
            self._replace_logger("it could not be started at once")
        if self._exporter and not self._exporter.pid and now_s >= self._exporter_at_s:
            self._start_exporter(self._exporter, adopt)
        if self._companion and self._companion.is_due(now_s):
            self._start_companion(self._companion, now_s)

    def describe(self) -> list[dict[str, Any]]:
        """For `status`: each with its pid, 0 while there is none, how often it has ended, and how it did last."""
        present = {"log": self._logger.pid}
        if self._exporter:
            present["metrics"] = self._exporter.pid
        if self._companion:
            present[self._companion.name] = self._companion.pid
        described = []
        for name, pid in present.items():
            ended, last = self._ends.get(name, (0, ""))
            described.append({"name": name, "pid": pid, "ended": ended, "how": last})
        return described

    def _count_end(self, name: str, status: int) -> None:
        self._ends[name] = (self._ends.get(name, (0, ""))[0] + 1, how(status))

    def bury(self, pid: int, status: int, *, stopping: bool) -> None:
        """Take note of a death, if it is one of theirs. Without its logger nobody else is heard: another at once."""
        if pid == self._logger.pid:
            self._count_end("log", status)
            self._replace_logger(how(status))
        elif self._companion and pid == self._companion.pid:
            self._count_end(self._companion.name, status)
            if self._companion.bury(status, time.monotonic()):
                self._log.event("warning", f"{self._companion.name} ended", how=how(status))
        elif self._exporter and pid == self._exporter.pid:
            self._count_end("metrics", status)
            self._exporter.pid = 0
            if not stopping:
                self._log.event("warning", "metrics process ended", how=how(status))

    def leave_to_successor(self) -> None:
        """Another master has its own, and the metrics socket is its now."""
        self._exporter = None
        self._end_companion()

    def finish(self, *, remove: bool) -> None:
        """The master's last act but one. `remove`: the metrics socket is ours to remove."""
        for listener in self._exporter.listeners if self._exporter else ():
            listener.close(remove=remove)
        self._end_companion()

    def _replace_logger(self, reason: str) -> None:
        try:
            self._logger.start_again()
        except OSError:
            # Nobody would read it; `keep` tries again with the next turn.
            return
        self._log.event("error", "logger replaced", reason=reason)

    def _start_exporter(self, exporter: Exporter, adopt: Callable[[socket.socket], None]) -> None:
        self._exporter_at_s = time.monotonic() + EXPORTER_DELAY_S
        try:
            adopt(exporter.start())
        except OSError as error:
            self._log.event("error", "metrics process not started", reason=error.strerror)

    def _start_companion(self, companion: Companion, now_s: float) -> None:
        try:
            companion.start(now_s)
        except OSError as error:
            self._log.event("error", f"{companion.name} not started", reason=error.strerror)

    def _end_companion(self) -> None:
        if self._companion:
            self._companion.end()
            self._companion = None
