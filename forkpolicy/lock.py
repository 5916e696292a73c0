"""Locks that no other user can hold: a file of mode 0600 that exists while a process works.

flock(2) asks for no more than an open descriptor. On a directory, or on a file that others may read, any local user
could hold it for ever; a file of mode 0600 can be opened by its owner and root alone. One that belongs to another
user, or that others may open, is refused at once. No process waits without end: after `patience_s` the process that
holds the lock is named. The file is removed under the lock, so that nothing is left of it; a waiter that got a
removed one starts again.

Raises CannotWriteError with the reason, and of it LockHeldError for a lock that was not free in time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import CannotWriteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RETRY_S: Final = 0.02
_TRY_AGAIN: Final = "try again when it has ended, or end it"
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LockHeldError(CannotWriteError):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(
    path: Path, patience_s: float, wait: Callable[[str], None] | None = None, directory: int | None = None
) -> Iterator[None]:
    """Hold the lock of a path meanwhile. `wait` is called with the holder's name before waiting for it;
    `directory` is the descriptor of the path's directory, if there is one already.
    """
    where = str(path) if directory is None else path.name
    try:
        fd = _locked_file(path, where, patience_s, wait, directory)
    except OSError as error:
        raise CannotWriteError(f"{path} cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(where, dir_fd=directory)
        os.close(fd)


def hold(path: Path) -> int:
    """Lock a path for as long as its descriptor is open, here and in every process that it is passed to; the
    descriptor. The file stays.
    """
    try:
        return _locked_file(path, str(path), 0.0, None, None)
    except OSError as error:
        raise CannotWriteError(f"{path} cannot be written: {error.strerror or error}") from error


def take(path: Path, fd: int, lock: Callable[[int, int], None], kind: int, patience_s: float) -> None:
    """Lock an open file by fcntl.flock or lockf (`lock`), as `kind` says, without waiting for longer than that."""
    until_s = time.monotonic() + patience_s
    while not _got(fd, lock, kind):
        if time.monotonic() >= until_s:
            raise LockHeldError(f"{path} is locked by {holder(fd)}: {_TRY_AGAIN}")
        time.sleep(RETRY_S)


def holder(fd: int) -> str:
    """Which process holds a lock on an open file, as far as /proc/locks shows it (proc(5))."""
    inode = f":{os.fstat(fd).st_ino}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if "->" not in words and words[5].endswith(inode) and int(words[4]) > 0:
                return f"process {words[4]} ({Path(f'/proc/{words[4]}/comm').read_text().strip()})"
    return "another process"


def _locked_file(
    path: Path, where: str, patience_s: float, wait: Callable[[str], None] | None, directory: int | None
) -> int:
    until_s = time.monotonic() + patience_s
    while True:
        fd = _opened(path, where, directory)
        try:
            _refuse_foreign(path, os.fstat(fd))
            if _got(fd, fcntl.flock, fcntl.LOCK_EX) and _is_still(fd, where, directory):
                held, fd = fd, -1
                return held
            if time.monotonic() >= until_s:
                raise LockHeldError(f"{path} is locked by {holder(fd)}: {_TRY_AGAIN}")
            if wait:
                wait(holder(fd))
                wait = None
        finally:
            if fd >= 0:
                os.close(fd)
        time.sleep(RETRY_S)


def _opened(path: Path, where: str, directory: int | None) -> int:
    try:
        return os.open(where, _FLAGS, 0o600, dir_fd=directory)
    except PermissionError:
        with contextlib.suppress(FileNotFoundError):
            _refuse_foreign(path, os.stat(where, dir_fd=directory, follow_symlinks=False))
        raise


def _refuse_foreign(path: Path, found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
        return
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    what = f"a file of {owner} with mode {stat.S_IMODE(found.st_mode):04o}"
    raise CannotWriteError(f"{path} is {what}, which another user could lock for ever: remove it")


def _got(fd: int, lock: Callable[[int, int], None], kind: int) -> bool:
    try:
        lock(fd, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        # lockf(3) may raise either.
        return False
    return True


def _is_still(fd: int, where: str, directory: int | None) -> bool:
    """Whether the path is the file that we have: its holder removes it at the end."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(where, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return False
