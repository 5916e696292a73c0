"""Who holds the write lock of what is remembered: a process that stops while it has it stops every worker that asks.

The lock is robust: the kernel passes the lock of a process that dies on to the next. So the master kills a holder that
has had the lock in every look for a second, while a worker stands still. It kills children of its own only; another
process, such as one of a second master during an upgrade, is logged. Looks at a few bytes of a file. Raises nothing.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.master.processes.waitpid import kill

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.log import LogPipe
    from forkpolicy.master.state_keeper import StateKeeper
    from forkpolicy.master.workers import Workers

# A transaction takes microseconds, a large `reset` some milliseconds.
HELD_TOO_LONG_S = 1.0
# While somebody has the lock: often enough that nobody else waits for long.
LOOK_AGAIN_S = 0.1
LOG_AGAIN_S = 60.0


class LockWatch:
    """The master's look at it. `read_holder`: the thread that holds the lock now, 0 for none."""

    def __init__(self, read_holder: Callable[[], int], workers: Workers, keeper: StateKeeper, log: LogPipe) -> None:
        self._read_holder = read_holder
        self._workers = workers
        self._keeper = keeper
        self._log = log
        self._thread = 0
        self._since_s = 0.0
        self._logged_s = -LOG_AGAIN_S

    @property
    def pause_s(self) -> float:
        """How long the loop may wait until the next look."""
        return LOOK_AGAIN_S if self._thread else float("inf")

    def look(self, now_s: float, *, slept: bool) -> None:
        """Kill a holder that does not go on. `slept`: the master was stopped or suspended, and perhaps all were."""
        thread = self._read_holder()
        if thread != self._thread or slept:
            self._thread, self._since_s = thread, now_s
        if not thread or now_s - self._since_s < HELD_TOO_LONG_S or not self._anyone_waits(now_s):
            return
        self._since_s = now_s
        pid = _process_of(thread)
        fields = {"holder": pid or thread, "held_s": HELD_TOO_LONG_S}
        if pid in self._workers.alive or (pid and pid == self._keeper.pid):
            self._log.event("error", "lock of the state held too long", **fields, action="kill")
            kill(pid, signal.SIGKILL)
        elif now_s - self._logged_s >= LOG_AGAIN_S:
            self._logged_s = now_s
            hint = "it is not a process of this server: workers wait until it goes on or ends"
            self._log.event("error", "lock of the state held too long", **fields, hint=hint)

    def _anyone_waits(self, now_s: float) -> bool:
        """Whether a worker stands still: one that holds the lock and beats is only busy."""
        silent_s = self._workers.deadlines.silent_s
        return any(
            worker.ready and silent_s(worker, now_s) >= HELD_TOO_LONG_S for worker in self._workers.alive.values()
        )


def _process_of(thread: int) -> int:
    """The process that a thread belongs to; 0 where it has ended."""
    try:
        for line in Path(f"/proc/{thread}/status").read_text().splitlines():
            if line.startswith("Tgid:"):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0
