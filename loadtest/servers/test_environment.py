"""What injected faults need, where it can be had: a wall clock that can be set, a disk that is soon full.

Neither is the machine's own: the clock is that of one process tree (native/clockshift.c, needs a C compiler), the disk
a small tmpfs in a mount namespace of this process and its children (needs root).
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.native import library

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DISK = b"size=16m,mode=755"
_CLONE_NEWNS = 0x00020000
_MS_REC_PRIVATE = 0x4000 | 1 << 18
_MNT_DETACH = 2


class Clock:
    """The wall clock of one process tree, which is started with `environment`."""

    def __init__(self, path: Path, preload: Path) -> None:
        """It is right at first. `path` is a file for it."""
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._shift = mmap.mmap(file.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(preload), "CLOCK_SHIFT": str(path)}

    def write(self, ahead_s: int) -> None:
        """Set it to so many seconds ahead of the machine's."""
        self._shift[:] = struct.pack("=q", ahead_s * 10**9)


@dataclass(frozen=True)
class Environment:
    """What a fault can be injected into. `logs` is a directory for the log, on a disk of its own or not."""

    logs: Path
    clock: Clock | None = None
    small_disk: bool = False


@contextlib.contextmanager
def prepared_environment(directory: Path, *, rough: bool) -> Iterator[Environment]:
    """A directory for the log; with `rough` also a clock and a small disk where they can be had."""
    logs = directory / "logs"
    logs.mkdir()
    preload = library("clockshift") if rough else None
    clock = Clock(directory / "shift", preload) if preload else None
    if not rough or os.geteuid() != 0:
        yield Environment(logs, clock)
        return
    _call("mount", b"logs", os.fsencode(logs), b"tmpfs", 0, DISK)
    try:
        yield Environment(logs, clock, small_disk=True)
    finally:
        _call("umount2", os.fsencode(logs), _MNT_DETACH)


def leave_mounts() -> None:
    """From here on this process and its children mount for themselves alone. As root, before there are threads."""
    _call("unshare", _CLONE_NEWNS)
    _call("mount", None, b"/", None, _MS_REC_PRIVATE, None)


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
