"""Whole lines of a log that is renamed or cut now and then, from the place where the last process stopped.

A place is an inode, an offset and a digest of the first bytes of the file: inode numbers are reused. A file that was
renamed to a name beginning with the log's is read to its end first, also one that gzip has compressed since: `postfix
logrotate` does that within a second. Raises OSError.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_READ_BYTES: Final = 1 << 20
_HEAD_BYTES: Final = 128
# Who writes the log goes on with a renamed file until a signal reaches it.
_GRACE_S: Final = 2.0
# A line without an end is none of Postfix's.
_LONGEST_LINE: Final = 1 << 16


class LogReader:
    """`lines` gives what is new. `start`: the place to go on from; None: at the end of the log of now."""

    def __init__(self, path: str, start: tuple[int, int, str] | None) -> None:
        self._path, self._start = Path(path), start
        self._file: BinaryIO | None = None
        self._offset, self._head, self._is_first = 0, b"", True
        self._replaced_s: float | None = None

    @property
    def place(self) -> tuple[int, int, str]:
        """Behind the last whole line."""
        if self._file is None:
            return self._start or (0, 0, "")
        return os.fstat(self._file.fileno()).st_ino, self._offset, _digest(self._first_bytes())

    def lines(self) -> list[str]:
        """The next whole lines, some at a time; none: nothing is new."""
        if self._file is None and not self._open():
            return []
        found = self._read()
        while not found and self._was_replaced():
            self._open_at(self._path, 0)
            found = self._read()
        return found

    def open(self) -> None:
        """Find the place, without reading on."""
        if self._file is None:
            self._open()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _open(self) -> bool:
        """Open the file of the place, or that of now. Whether there is one."""
        start = self._start
        if start and start[2]:
            for path in self._candidates():
                if _is_at(path, start):
                    return self._open_at(path, start[1])
                if path.suffix == ".gz" and (plain := _uncompressed(path, start)):
                    return self._use(plain, start[1])
        # Of a place that is gone: all of the log. Of no place: what comes from now on.
        at_end = start is None and self._is_first
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            self._is_first = False
            return False
        return self._open_at(self._path, size if at_end else 0)

    def _candidates(self) -> Iterable[Path]:
        renamed = [each for each in self._path.parent.iterdir() if each.name.startswith(self._path.name)]
        return [each for each in (self._path, *renamed) if each.is_file()]

    def _open_at(self, path: Path, offset: int) -> bool:
        try:
            return self._use(path.open("rb"), offset)
        except FileNotFoundError:
            self.close()
            return False

    def _use(self, file: BinaryIO, offset: int) -> bool:
        self.close()
        self._file = file
        self._offset, self._head, self._is_first, self._replaced_s = offset, b"", False, None
        self._first_bytes()
        return True

    def _first_bytes(self) -> bytes:
        """What the file begins with, up to what was read of it; it grows until it is long enough."""
        assert self._file is not None
        if len(self._head) < _HEAD_BYTES:
            self._head = os.pread(self._file.fileno(), min(_HEAD_BYTES, self._offset), 0)
        return self._head

    def _read(self) -> list[str]:
        assert self._file is not None
        data = os.pread(self._file.fileno(), _READ_BYTES, self._offset)
        end = data.rfind(b"\n") + 1
        if not end:
            # A line without an end, or the beginning of one that is on its way.
            self._offset += len(data) if len(data) > _LONGEST_LINE else 0
            return []
        self._offset += end
        return data[:end].decode("utf-8", "replace").split("\n")[:-1]

    def _was_replaced(self) -> bool:
        """Whether the log of now is another file, or was cut."""
        assert self._file is not None
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._file.fileno())
        if (now.st_ino, now.st_dev) == (mine.st_ino, mine.st_dev):
            return now.st_size < self._offset
        self._replaced_s = self._replaced_s or time.monotonic()
        return time.monotonic() - self._replaced_s >= _GRACE_S


def _uncompressed(path: Path, start: tuple[int, int, str]) -> BinaryIO | None:
    """What a compressed log has, in a file without a name, where it is the one of a place."""
    length = int(start[2].partition(":")[0])
    try:
        with gzip.open(path, "rb") as packed:
            head = packed.read(length)
            if _digest(head) != start[2]:
                return None
            plain = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open as long as it is read
            plain.write(head)
            shutil.copyfileobj(packed, plain)
            plain.flush()
    except (EOFError, zlib.error, gzip.BadGzipFile):
        # Another program's, or on its way.
        return None
    return plain


def _digest(head: bytes) -> str:
    return f"{len(head)}:{hashlib.sha256(head).hexdigest()}"


def _is_at(path: Path, start: tuple[int, int, str]) -> bool:
    """Whether the file is the one of a place. One that was copied has the bytes and another inode."""
    length = int(start[2].partition(":")[0])
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_size >= start[1] and _digest(file.read(length)) == start[2]
