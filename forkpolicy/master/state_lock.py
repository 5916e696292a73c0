"""One master at a time uses the maps of what is remembered: a lock beside the directory of the live one, which workers
may not write.

Two masters on one map would keep it in two places, and each would kill the other's workers for its lock. In an upgrade
the old master passes the descriptor on: the lock is free when neither has it open. The file says whose it is.

Raises CannotWriteError where another master has it, or where it cannot be had.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.errors import CannotWriteError
from forkpolicy.lock import LockHeldError, hold

if TYPE_CHECKING:
    from forkpolicy.settings import Settings

SUFFIX = ".lock"
MAX_OWNER_BYTES = 4096


class StateLock:
    """Of the maps that these settings name. `fd` is -1 while it is not held."""

    def __init__(self, settings: Settings, inherited: int = -1) -> None:
        """`inherited`: that of the master that we replace; given up where that one used other maps."""
        self._live = settings.state.live
        self._path = Path(self._live + SUFFIX)
        self._owner = f"process {os.getpid()}, which serves {settings.path}"
        self.fd = inherited
        if inherited >= 0 and not self._is_ours(inherited):
            self.release()

    def take(self) -> None:
        """Hold it from now on, if we do not yet."""
        if self.fd < 0:
            try:
                self.fd = hold(self._path)
            except LockHeldError as error:
                raise CannotWriteError(self._why_held()) from error
            if os.fstat(self.fd).st_nlink != 1:
                # Another user may write its directory where the server starts as root: what we write to is ours alone.
                self.release()
                raise CannotWriteError(f"{self._path} has another name, too: remove it")
            self.sign()

    def sign(self) -> None:
        """Write whose it is: at the start, and in an upgrade once the old master has given way."""
        if self.fd >= 0:
            os.ftruncate(self.fd, 0)
            os.pwrite(self.fd, self._owner.encode("utf-8", "surrogateescape"), 0)

    def release(self) -> None:
        """Give it up."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _is_ours(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self._path.stat())
        except OSError:
            return False

    def _why_held(self) -> str:
        try:
            owner = self._path.read_bytes()[:MAX_OWNER_BYTES].decode("utf-8", "surrogateescape")
        except OSError:
            owner = ""
        return (
            f"[state] live: {self._live} is used by {owner or 'another process'}: "
            "end that, or give this server directories of its own"
        )
