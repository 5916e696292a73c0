"""A process of the master's that does one thing next to the workers: started, started again when it fails, ended with
the master.

The master knows its function and no more of it: the watcher of this machine's networks is one. One that returns cannot
do its work on this machine and has reported why, once; it is not started again.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from forkpolicy.master.processes.child import start_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# One that fails at once is started no more often; twice as long after each such failure, up to the limit.
DELAY_S = 5.0
LONGEST_DELAY_S = 300.0


class HelperProcess:
    """The master's side. `pid` is 0 while there is no process; `report_bug` gets the traceback of a fatal bug."""

    def __init__(
        self, name: str, run: Callable[[], None], report_bug: Callable[[str], None], keep: Iterable[int] = ()
    ) -> None:
        """`keep`: the descriptors that it needs, such as the log's."""
        self.name = name
        self.pid = 0
        self._run = run
        self._report_bug = report_bug
        self._keep = tuple(keep)
        self._not_before_s = 0.0
        self._delay_s = DELAY_S
        self._has_returned = False

    def is_due(self, now_s: float) -> bool:
        """Whether it is to be started now."""
        return not (self.pid or self._has_returned) and now_s >= self._not_before_s

    def start(self, now_s: float) -> None:
        """Fork the process. Raises OSError."""
        self._not_before_s = now_s + self._delay_s
        self.pid = start_child(
            self._run, title=f"forkpolicy: {self.name}", keep=self._keep, report_bug=self._report_bug
        )

    def on_exit(self, status: int, now_s: float) -> bool:
        """Note its exit. False: it has returned, and is not started again."""
        self.pid = 0
        self._has_returned = status == 0
        lived_long = now_s >= self._not_before_s
        self._delay_s = DELAY_S if lived_long else min(2 * self._delay_s, LONGEST_DELAY_S)
        return not self._has_returned

    def end(self) -> None:
        """Kill it, and wait until it is gone: it may hold the log open."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            self.pid = 0
