"""Which thread holds the write lock of a live map, from its lock file alone: for the master, which has no LMDB.

LMDB's writers share a robust mutex of glibc at byte 64 of lock.mdb, and the mutex has its owner's thread id at byte 8:
four bytes of a file say who stands still while everybody waits. That is how LMDB 0.9 and glibc lay them out and no
promise of theirs, so LiveMap.shows_holder proves it at each start.
"""

from __future__ import annotations

import os
from pathlib import Path

LOCK_FILE = "lock.mdb"

# The directory is the workers': a FIFO there must not stop the master.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OWNER_AT = 72
_OWNER_BYTES = 4
# The kernel's FUTEX_TID_MASK: what a mutex may have above it says that somebody waits, or that its owner has died.
_TID_MASK = 0x3FFFFFFF


def lock_holder(directory: str | os.PathLike[str]) -> int:
    """The thread id of the process that holds the write lock; 0 while nobody does, and where there is no map.

    A killed process keeps its place until another one takes the lock over. Not for a process that has the map open:
    closing the file would drop its lock.
    """
    try:
        fd = os.open(Path(directory) / LOCK_FILE, _FLAGS)
    except OSError:
        return 0
    try:
        return holder_in(fd)
    finally:
        os.close(fd)


def holder_in(fd: int) -> int:
    """The same from an open lock file."""
    try:
        owner = os.pread(fd, _OWNER_BYTES, _OWNER_AT)
    except OSError:
        return 0
    return int.from_bytes(owner, "little") & _TID_MASK
