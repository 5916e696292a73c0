"""USR2: new code and new settings on the same sockets, in a master of their own; the old one goes when it serves.

The old master starts the program again and passes its sockets on (inherited.py). The new one loads, forks its workers,
and reports that it serves; then the old one lets its workers hand their connections over and ends. Until that report
nothing has changed: if the new one dies or reports nothing in time, it is killed and the old one goes on. This is the
old master's side; it raises nothing.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from forkpolicy.master.processes.waitpid import describe_exit, kill
from forkpolicy.master.sockets.inherited import REPORT_BYTES, SERVING, start_again

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forkpolicy.log import LogPipe
    from forkpolicy.master.sockets.inherited import InheritedSockets
    from forkpolicy.master.sockets.loop import Loop

# Loading the largest policies and tables takes seconds; a unit's own start has as long.
UP_TIMEOUT_S = 60.0


class Upgrade:
    """One of them, from the start of the new master to its report. Raises OSError where it cannot be started."""

    def __init__(self, sockets: InheritedSockets) -> None:
        self._read_end, ready_fd = os.pipe2(os.O_CLOEXEC)
        sockets.ready_fd = ready_fd
        self.deadline_s = time.monotonic() + UP_TIMEOUT_S
        try:
            self.pid = start_again(sockets)
        except OSError:
            os.close(self._read_end)
            raise
        finally:
            os.close(ready_fd)

    def fileno(self) -> int:
        """What is readable when the new one serves, or has died."""
        return self._read_end

    def report(self) -> str:
        """What it reports, when readable: that it serves, or why it cannot; empty when it has died."""
        return os.read(self._read_end, REPORT_BYTES).decode("utf-8", "replace")

    def close(self) -> None:
        """Wait for it no more."""
        os.close(self._read_end)


class Upgrader:
    """All attempts, one at a time. `serves` is called with the pid of a new master that does."""

    def __init__(self, sockets: InheritedSockets, loop: Loop, log: LogPipe, serves: Callable[[int], None]) -> None:
        self._sockets = sockets
        self._loop = loop
        self._log = log
        self._serves = serves
        self._upgrade: Upgrade | None = None

    @property
    def under_way(self) -> bool:
        """Whether one is."""
        return self._upgrade is not None

    def begin(self, generation: int, tables: Mapping[str, int], state_lock: int) -> None:
        """Start a new master on our sockets; nothing else changes until it serves. `tables`: the last good ones;
        `state_lock`: of the maps of what is remembered, -1 where we have none.
        """
        self._sockets.generation = generation
        self._sockets.tables = dict(tables)
        self._sockets.state_lock = state_lock
        try:
            upgrade = Upgrade(self._sockets)
        except OSError as error:
            self._log.event("error", "upgrade failed", reason=error.strerror, action="this master goes on")
            return
        self._upgrade = upgrade
        self._loop.register(upgrade, lambda _events: self._on_report(upgrade))
        self._log.event("info", "upgrade started", new_pid=upgrade.pid)

    def refuse(self, reason: str) -> None:
        """Report why it cannot begin now."""
        self._log.event("warning", "upgrade refused", reason=reason)

    def abort(self, reason: str) -> None:
        """End the new master and go on."""
        if self._upgrade:
            kill(self._upgrade.pid, signal.SIGKILL)
            self._end(self._upgrade)
            self._log.event("error", "upgrade failed", reason=reason, action="this master goes on")

    def on_exit(self, pid: int, status: int) -> bool:
        """Note the new master's exit. False: it was another process."""
        if not (self._upgrade and pid == self._upgrade.pid):
            return False
        self.abort(f"the new master ended: {describe_exit(status)}; standard error has the reason")
        return True

    def tick(self, now_s: float) -> None:
        """End a new master that takes too long."""
        if self._upgrade and now_s > self._upgrade.deadline_s:
            self.abort(f"it does not serve within {UP_TIMEOUT_S:g} s")

    def _on_report(self, upgrade: Upgrade) -> None:
        """The new master serves, or has closed its end: then its exit shows why."""
        if upgrade is not self._upgrade:
            return
        report = upgrade.report()
        if report == SERVING:
            self._end(upgrade)
            self._serves(upgrade.pid)
        elif report:
            self.abort(f"the new master cannot serve: {report}")
        else:
            self._loop.unregister(upgrade)

    def _end(self, upgrade: Upgrade) -> None:
        self._upgrade = None
        self._loop.unregister(upgrade)
        upgrade.close()
