"""The processes next to the workers: the logs, the metrics, and a helper process if there is one. Each is started, and
started again when it ends.

Raises nothing: what cannot be started is logged and tried again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from forkpolicy.master.processes.waitpid import describe_exit
from forkpolicy.status import HelperStatus

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from forkpolicy.log import LogPipe
    from forkpolicy.master.processes.exporter import Exporter
    from forkpolicy.master.processes.helper_process import HelperProcess
    from forkpolicy.master.processes.logger import Logger

# A metrics process that ends is started again, but no more often than this.
EXPORTER_DELAY_S = 1.0


class Helpers:
    """All helper processes of the master."""

    def __init__(
        self, loggers: Sequence[Logger], exporter: Exporter | None, helper: HelperProcess | None, log: LogPipe
    ) -> None:
        self._loggers = loggers
        self._exporter = exporter
        self._helper = helper
        self._log = log
        self._exporter_at_s = 0.0
        # How often each has ended, and how it did last.
        self._ends: dict[str, tuple[int, str]] = {}

    def keep(self, now_s: float, adopt: Callable[[socket.socket], None]) -> None:
        """Start those that are missing. `adopt` gets the connection on which the metrics process asks for `status`."""
        for logger in self._loggers:
            if not logger.pid:
                self._replace_logger(logger, "it could not be started at once")
        if self._exporter and not self._exporter.pid and now_s >= self._exporter_at_s:
            self._start_exporter(self._exporter, adopt)
        if self._helper and self._helper.is_due(now_s):
            self._start_helper(self._helper, now_s)

    def describe(self) -> tuple[HelperStatus, ...]:
        """For `status`: each with its pid, 0 while there is none, how often it has ended, and how it did last."""
        present = {logger.name: logger.pid for logger in self._loggers}
        if self._exporter:
            present["metrics"] = self._exporter.pid
        if self._helper:
            present[self._helper.name] = self._helper.pid
        described = []
        for name, pid in present.items():
            ended, last = self._ends.get(name, (0, ""))
            described.append(HelperStatus(name, pid, ended, last))
        return tuple(described)

    def _count_end(self, name: str, status: int) -> None:
        self._ends[name] = (self._ends.get(name, (0, ""))[0] + 1, describe_exit(status))

    def on_exit(self, pid: int, status: int, *, stopping: bool) -> None:
        """Note an exit, if it is one of theirs. A logger is replaced at once: nothing else is logged without it."""
        logger = next((each for each in self._loggers if each.pid == pid), None)
        if logger:
            self._count_end(logger.name, status)
            self._replace_logger(logger, describe_exit(status))
        elif self._helper and pid == self._helper.pid:
            self._count_end(self._helper.name, status)
            if self._helper.on_exit(status, time.monotonic()):
                self._log.event("warning", f"{self._helper.name} ended", how=describe_exit(status))
        elif self._exporter and pid == self._exporter.pid:
            self._count_end("metrics", status)
            self._exporter.pid = 0
            if not stopping:
                self._log.event("warning", "metrics process ended", how=describe_exit(status))

    def leave_to_new_master(self) -> None:
        """Leave the metrics socket to another master, which has helpers of its own."""
        self._exporter = None
        self._end_helper()

    def finish(self, *, remove: bool) -> None:
        """The master's last act but one. `remove`: the metrics socket is ours to remove."""
        for listener in self._exporter.listeners if self._exporter else ():
            listener.close(remove=remove)
        self._end_helper()

    def _replace_logger(self, logger: Logger, reason: str) -> None:
        try:
            logger.start_again()
        except OSError:
            # No process would read a log line; `keep` tries again with the next turn.
            return
        self._log.event("error", "logger replaced", log=logger.name, reason=reason)

    def _start_exporter(self, exporter: Exporter, adopt: Callable[[socket.socket], None]) -> None:
        self._exporter_at_s = time.monotonic() + EXPORTER_DELAY_S
        try:
            adopt(exporter.start())
        except OSError as error:
            self._log.event("error", "metrics process not started", reason=error.strerror)

    def _start_helper(self, helper: HelperProcess, now_s: float) -> None:
        try:
            helper.start(now_s)
        except OSError as error:
            self._log.event("error", f"{helper.name} not started", reason=error.strerror)

    def _end_helper(self) -> None:
        if self._helper:
            self._helper.end()
            self._helper = None
