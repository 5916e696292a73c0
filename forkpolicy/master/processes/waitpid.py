"""Children that have exited, how they did, and how to end one. Plain functions; none of them raises."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def exited_children() -> Iterator[tuple[int, int]]:
    """The pid and the status of every child that has exited and was not waited for yet."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            yield found


def describe_exit(status: int) -> str:
    """The status of a child that has exited, in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        # Real-time signals have numbers only.
        return f"signal {signal.Signals(number).name if number in list(signal.Signals) else number}"
    return f"exit {os.WEXITSTATUS(status)}"


def kill(pid: int, signum: int) -> None:
    """Send a signal to a process that may have exited already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)
