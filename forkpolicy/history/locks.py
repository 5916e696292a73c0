"""Who may write to the history's directory: one ingester for its whole life, and each process that changes days for
as long as that takes.

The ingester holds the lock of the days only for one transaction, so that another process can change what was taken in
while it runs (`forkpolicy history forget`). Both locks end with their process. Raises HistoryError, OSError.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.history.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Iterator

INGESTER_LOCK: Final = "ingest.lock"
DAYS_LOCK: Final = "days.lock"


def lock_as_ingester(directory: str) -> int:
    """The lock of the one ingester, a descriptor. Raises HistoryError where another has it."""
    path = f"{directory}/{INGESTER_LOCK}"
    lock = _opened(path)
    if not _taken(lock):
        os.close(lock)
        raise HistoryError(f"{path} is held: another forkpolicy history ingest fills this directory")
    return lock


class DaysLock:
    """The lock of the days, for one who comes again and again."""

    def __init__(self, directory: str) -> None:
        self._fd = _opened(f"{directory}/{DAYS_LOCK}")
        self._is_held = False

    def take(self) -> bool:
        """Whether we have it: another may, for minutes."""
        self._is_held = self._is_held or _taken(self._fd)
        return self._is_held

    def release(self) -> None:
        """Let others have it."""
        if self._is_held:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self._is_held = False

    def close(self) -> None:
        """Give it up."""
        os.close(self._fd)


@contextmanager
def days_locked(directory: str) -> Iterator[None]:
    """Wait for the lock of the days, and hold it."""
    lock = _opened(f"{directory}/{DAYS_LOCK}")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _opened(path: str) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    if os.geteuid() == 0:
        # Made by root, it must not keep the directory's owner out.
        above = Path(path).parent.stat()
        os.fchown(lock, above.st_uid, above.st_gid)
    return lock


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
