"""Whether a process lives, as proc(5) shows it, and how one is made to stand still."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

PATIENCE_S = 10.0


def pause(pid: int) -> None:
    """Stop a process and return when each of its threads stands still, or the process has ended.

    kill(2) returns before that: a thread that runs on another core goes on until it enters the kernel. Raises
    ProcessLookupError where there is no such process, TimeoutError when it goes on for PATIENCE_S.
    """
    os.kill(pid, signal.SIGSTOP)
    until_s = time.monotonic() + PATIENCE_S
    while any(letter not in "TXZ" for letter in _threads(pid)):
        if time.monotonic() > until_s:
            raise TimeoutError(f"process {pid} does not stand still within {PATIENCE_S:g} s of SIGSTOP")
        time.sleep(0)


def is_there(pid: int) -> bool:
    """Whether a process lives."""
    return _letter(Path(f"/proc/{pid}/stat")) not in "XZ"


def _threads(pid: int) -> list[str]:
    try:
        return [_letter(task / "stat") for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []


def _letter(stat: Path) -> str:
    """What it does at the moment; X when it has gone."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
