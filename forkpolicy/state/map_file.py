"""The files of a live map on their file system: made whole or not at all.

A map without sync does not survive the loss of power, and LMDB may kill the process that reads what is left of it. So a
file of its own says in which boot a map was completed: one of another boot is never opened.

LMDB writes through a shared mapping, and a page for which the file system has no room kills its writer with SIGBUS. So
all of a map is reserved when it is made, and a file system that is too small is an error with the number of bytes that
lack.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

import lmdb

from forkpolicy.errors import CannotWriteError
from forkpolicy.state.lock_holder import LOCK_FILE

DATA_FILE = "data.mdb"
# Two generations of 512 workers during an upgrade, and tools; a slot takes 64 bytes.
READERS = 2048
FILE_MODE = 0o660

_BOOT_FILE = "boot"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_LEAST_BYTES = 1 << 20
_DIRECTORY_MODE = 0o770
_LOCK_BYTES = 64 * (READERS + 4)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def whole_pages(max_bytes: int) -> int:
    """The size that a map of `max_bytes` gets."""
    return max(_LEAST_BYTES, max_bytes // _PAGE_BYTES * _PAGE_BYTES)


def make(directory: str, max_bytes: int) -> None:
    """Make an empty map of `max_bytes`, in place of the one that is there. Nobody may have that one open.

    Raises CannotWriteError, and then leaves no file.
    """
    size = whole_pages(max_bytes)
    try:
        Path(directory).mkdir(_DIRECTORY_MODE, parents=True, exist_ok=True)
        remove(directory)
        _refuse_too_large(directory, size)
        _reserve(directory, LOCK_FILE, _LOCK_BYTES)
        # Without WRITEMAP, the first two pages are written and not mapped; LMDB refuses a file of zeros.
        lmdb.open(directory, map_size=size, max_readers=READERS, mode=FILE_MODE).close()
        _reserve(directory, DATA_FILE, size)
    except (OSError, lmdb.Error) as error:
        lacks = _lacking_bytes(directory, size)
        remove(directory)
        raise CannotWriteError(_why(error, directory, size, lacks)) from error


def _refuse_too_large(directory: str, size: int) -> None:
    """Raises OSError. To try it would take all that a disk has free from others, for seconds."""
    if _lacking_bytes(directory, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _reserve(directory: str, name: str, size: int) -> None:
    fd = os.open(Path(directory) / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)


def complete(directory: str) -> None:
    """Mark a new map as complete: from now on it is used until the next boot."""
    (Path(directory) / _BOOT_FILE).write_text(_boot_mark(directory))


def is_complete(directory: str) -> bool:
    """Whether there is a map that was completed since the machine started."""
    try:
        return (Path(directory) / _BOOT_FILE).read_text() == _boot_mark(directory)
    except OSError:
        return False


def _boot_mark(directory: str) -> str:
    """Which boot and which file: a mark that came with a copy of the directory does not count."""
    return f"{_BOOT_ID.read_text().strip()} {identity_of(directory)}\n"


def size_of(directory: str) -> int:
    """The size of a map in bytes; 0 if there is none."""
    try:
        return (Path(directory) / DATA_FILE).stat().st_size
    except FileNotFoundError:
        return 0


def identity_of(directory: str) -> tuple[int, int] | None:
    """Which file a map is; None if there is none."""
    try:
        found = os.stat(f"{directory}/{DATA_FILE}")  # noqa: PTH116 - asked every second by every worker
    except OSError:
        return None
    return found.st_dev, found.st_ino


def remove(directory: str) -> None:
    """Remove a map. Nobody may have it open."""
    for name in (_BOOT_FILE, DATA_FILE, LOCK_FILE):
        (Path(directory) / name).unlink(missing_ok=True)


def is_open(directory: str) -> bool:
    """Whether any process has a map open: LMDB keeps a lock on the first byte of its lock file."""
    try:
        fd = os.open(Path(directory) / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # struct flock of Linux: type, whence, start, length, pid.
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
        return bool(struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
    finally:
        # Closing a descriptor drops all locks that this process has on the file: LMDB's own, were it open here.
        os.close(fd)


def _lacking_bytes(directory: str, size: int) -> int:
    try:
        free = os.statvfs(directory)
    except OSError:
        return 0
    files = [Path(directory) / name for name in (DATA_FILE, LOCK_FILE)]
    has = sum(file.stat().st_blocks * 512 for file in files if file.exists())
    return max(0, size + _LOCK_BYTES - has - free.f_bavail * free.f_frsize)


def _why(error: Exception, directory: str, size: int, lacks: int) -> str:
    is_full = lacks or (isinstance(error, OSError) and error.errno == errno.ENOSPC)
    if not is_full:
        reason = error.strerror if isinstance(error, OSError) else error
        return f"{directory}: the map of what the policy remembers cannot be made: {reason}"
    return (
        f"{directory}: the map of what the policy remembers takes {size} bytes, {lacks} more than its file system has "
        "free: set state.max_size to less, or make the file system larger"
    )
