"""A process of the master's that does one thing beside the workers: started, started again when it ends, gone with
the master.

The master gives it something to do and knows no more of it: the watcher of this machine's networks is one.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from forkpolicy.master.signals import CAUGHT
from forkpolicy.process import SIGNALS_OF_MASTER, die_with_parent, leave_no_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# One that ends at once is not worth starting more often.
DELAY_S = 5.0


class Companion:
    """The master's side. `pid` is 0 while there is no process."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self.name = name
        self.pid = 0
        self.not_before_s = 0.0
        self._run = run

    def start(self, drop: Iterable[Callable[[], None]], now_s: float) -> None:
        """Fork the process; `drop` is what it closes of the master's. Raises OSError."""
        self.not_before_s = now_s + DELAY_S
        master = os.getpid()
        # As with workers: a signal that comes in between must not run the master's handler in the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
        try:
            self.pid = os.fork()
            if not self.pid:
                self._live(master, drop)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def end(self) -> None:
        """Kill it, and wait until it is gone: it may hold the log open."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            self.pid = 0

    def _live(self, master: int, drop: Iterable[Callable[[], None]]) -> None:
        try:
            for each in drop:
                each()
            setproctitle(f"forkpolicy: {self.name}")
            for signum in SIGNALS_OF_MASTER:
                signal.signal(signum, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            leave_no_core()
            die_with_parent(signal.SIGKILL, master)
            self._run()
        finally:
            os._exit(0)
