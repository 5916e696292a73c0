"""The dead among our children, and how to bring a death about. Plain functions; none of them raises."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def exited_children() -> Iterator[tuple[int, int]]:
    """The pid and the status of every child that has died and was not asked for yet."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            yield found


def describe_exit(status: int) -> str:
    """The status of a dead child in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        # Real-time signals have numbers only.
        return f"signal {signal.Signals(number).name if number in list(signal.Signals) else number}"
    return f"exit {os.WEXITSTATUS(status)}"


def kill(pid: int, signum: int) -> None:
    """Send a signal, to one that may have died already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)
