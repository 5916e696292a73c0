"""The bytes of held mail: one file a message, named by the SHA-256 of its bytes, in one of 256 directories.

A mail is written to `incoming/` first, as it arrives, and synced; `keep` renames it to its place and syncs the
directory. What a killed store left in `incoming/`, and files that no row names, are removed at the next start. Mails
with the same bytes share a file. Raises OSError.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

_INCOMING: Final = "incoming"
_MAIL: Final = "mail"
_MODE: Final = 0o700


class IncomingFile:
    """A mail that arrives: written piece by piece, then kept or dropped."""

    def __init__(self, directory: Path) -> None:
        fd, self.path = tempfile.mkstemp(dir=directory)
        self._file = os.fdopen(fd, "wb", buffering=1 << 16)
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._file.write(data)
        self._digest.update(data)
        self.size_bytes += len(data)

    def finish(self) -> str:
        """Sync it to disk; its digest in hexadecimal."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._digest.hexdigest()

    def drop(self) -> None:
        """Forget it; nothing happens where it was kept."""
        # On a full disk it fails on what is not written yet, and closes all the same.
        with contextlib.suppress(OSError):
            self._file.close()
        Path(self.path).unlink(missing_ok=True)


class MailFiles:
    """The files below the directory of the store."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._incoming = directory / _INCOMING
        for each in (self._incoming, directory / _MAIL):
            each.mkdir(mode=_MODE, exist_ok=True)

    def begin(self) -> IncomingFile:
        """A file for a mail that arrives."""
        return IncomingFile(self._incoming)

    def path(self, digest: str) -> Path:
        """Where the mail of that digest is, or would be."""
        return self._directory / _MAIL / digest[:2] / digest

    def keep(self, incoming: IncomingFile, digest: str) -> None:
        """Put a finished file in its place, on disk when this returns."""
        path = self.path(digest)
        if not path.parent.is_dir():
            path.parent.mkdir(mode=_MODE, exist_ok=True)
            _sync_directory(path.parent.parent)
        # It may be there: the same bytes arrived earlier, and these are as good.
        Path(incoming.path).rename(path)
        _sync_directory(path.parent)

    def remove(self, digest: str) -> None:
        """Remove a file that no row names any more."""
        self.path(digest).unlink(missing_ok=True)

    def sweep(self, named: Container[str]) -> int:
        """Remove what a killed store left: everything in `incoming/`, and files whose digest no row names. How many."""
        left = [*self._incoming.iterdir(), *(path for path in self._kept() if path.name not in named)]
        for each in left:
            each.unlink(missing_ok=True)
        return len(left)

    def free_bytes(self) -> int:
        """The room that is left for the store's user."""
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize

    def _kept(self) -> Iterator[Path]:
        return (path for part in (self._directory / _MAIL).iterdir() if part.is_dir() for path in part.iterdir())


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
