"""Signals of the master: handlers that only enqueue, and a descriptor that wakes the loop.

The loop takes one signal at a time from `Signals.take`; what each means stands in one table in `supervisor`.
"""

from __future__ import annotations

import os
import signal
from collections import deque

from forkpolicy.process import SIGNALS_OF_MASTER

CAUGHT = (*SIGNALS_OF_MASTER, signal.SIGCHLD)
# What no start may die of, or be stopped by: the default actions of these. TERM and INT end it.
HELD = tuple(each for each in SIGNALS_OF_MASTER if each not in (signal.SIGTERM, signal.SIGINT))


def hold() -> None:
    """Have what is asked of a master that has not come so far wait until it catches signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


class Signals:
    """Catches the master's signals from `catch` on."""

    def __init__(self) -> None:
        self._queue: deque[int] = deque()
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def catch(self) -> None:
        """Install the handlers."""
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for signum in CAUGHT:
            signal.signal(signum, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)

    def _on_signal(self, signum: int, _frame: object) -> None:
        # Runs between any two bytecodes: enqueue, nothing else. A storm of one signal is one signal.
        if signum not in self._queue:
            self._queue.append(signum)

    def fileno(self) -> int:
        """What is readable after a signal."""
        return self._read_end

    def take(self) -> list[int]:
        """The signals that came, in order, each once."""
        try:
            while os.read(self._read_end, 4096):
                pass
        except BlockingIOError:
            pass
        taken = []
        while self._queue:
            taken.append(self._queue.popleft())
        return taken
