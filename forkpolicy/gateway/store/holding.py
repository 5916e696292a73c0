"""The directory of the store belongs to one process at a time: a lock on held.lock. Raises CannotWriteError."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import CannotWriteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOCK: Final = "held.lock"


@contextmanager
def held_alone(directory: Path) -> Iterator[None]:
    """Make the directory where it is missing, and hold it."""
    path = directory / _LOCK
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        why = f"{error.strerror}; [store] path is a directory of the store's user, who may write there"
        raise CannotWriteError(f"{directory}: {why}") from error
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CannotWriteError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        why = "another store uses it: stop that one, or name another [store] path"
        raise CannotWriteError(f"{directory}: {why}") from error
    try:
        yield
    finally:
        os.close(fd)
