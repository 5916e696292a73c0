"""How many log lines were lost since the start, and where: at the pipe, which is full because the target does not keep
up, or at the target, which takes nothing (a full disk, a FIFO without a reader).

Every process counts where it loses a line (log.Tally); the master adds up, and reports on standard error when it
begins: the log cannot have it then. The logger itself reports why a target takes nothing.
"""

from __future__ import annotations

import fcntl
import struct
import termios
import time

from forkpolicy.log import Tally, report_on_stderr
from forkpolicy.status import LogStatus, LostLines

# Losses with less than this between them are one fault, which is reported once.
QUIET_S = 60.0


class Trouble:
    """Something that begins, goes on and ends, and is reported when it begins."""

    def __init__(self) -> None:
        self._until_s = -QUIET_S

    def begins(self, now_s: float) -> bool:
        """It is there: whether it was not a minute ago."""
        new = now_s > self._until_s
        self._until_s = now_s + QUIET_S
        return new


class Losses:
    """The master's view. `pipe` is the read end of the log's pipe; `is_stderr`: the target is standard error, which
    cannot report its own faults.
    """

    def __init__(self, target: str, pipe: int, *, is_stderr: bool) -> None:
        self.at_pipe, self.at_target = Tally(), Tally()
        self._target, self._pipe, self._is_stderr = target, pipe, is_stderr
        self._lost = {"pipe": 0, "target": 0}
        self._trouble = Trouble()

    def look(self, now_s: float) -> None:
        """Add up what was lost since the last look, and report it if it has just begun. Called in every turn."""
        at_pipe = self.at_pipe.take()
        self._lost["pipe"] += at_pipe
        self._lost["target"] += self.at_target.take()
        if at_pipe and self._trouble.begins(now_s) and not self._is_stderr:
            report_on_stderr(f"log lines are lost: {self._target} does not keep up; forkpolicy status shows how many")

    def describe(self) -> LogStatus:
        """For `status`: the target, lines lost, and bytes that wait for the logger."""
        self.look(time.monotonic())
        return LogStatus(self._target, LostLines(**self._lost), self._waiting())

    def _waiting(self) -> int:
        waiting: int = struct.unpack("i", fcntl.ioctl(self._pipe, termios.FIONREAD, bytes(4)))[0]
        return waiting
