"""The lines of one day, compressed, beside its SQLite file: blocks that are read alone.

A block is at most BLOCK_BYTES of whole lines, deflated: four lines or more in the space of one. To ask what if, lines
of thousands of blocks are read back: 33 us each, 113 with blocks four times as large, which take two thirds of the
space. The file only grows; a block that was forgotten is overwritten. What was written behind the end that the day's
last commit knows is cut off when it is opened again. Raises OSError.
"""

from __future__ import annotations

import os
import struct
import zlib
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BLOCK_BYTES: Final = 1 << 14
_LEVEL: Final = 6
# The length of what follows, so that a block is read with its place alone.
_LENGTH: Final = struct.Struct("<I")


class RawWriter:
    """Appends lines. `add` gives the place of a line: of its block, and its number there."""

    def __init__(self, path: str, committed_bytes: int) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        os.ftruncate(self._fd, committed_bytes)
        os.lseek(self._fd, committed_bytes, os.SEEK_SET)
        self._end = committed_bytes
        self._lines: list[bytes] = []
        self._bytes = 0

    def add(self, line: bytes) -> tuple[int, int]:
        """The place of a line that `flush` will have written."""
        if self._bytes + len(line) > BLOCK_BYTES and self._lines:
            self._write_block()
        self._lines.append(line)
        self._bytes += len(line) + 1
        return self._end, len(self._lines) - 1

    def flush(self) -> int:
        """Write what was added, to disk; the end of the file, for the commit."""
        self._write_block()
        os.fsync(self._fd)
        return self._end

    def close(self) -> None:
        """Close the file; what was not flushed is not in it."""
        os.close(self._fd)

    def _write_block(self) -> None:
        if not self._lines:
            return
        block = block_of(self._lines)
        self._lines, self._bytes = [], 0
        view = memoryview(block)
        while view:
            view = view[os.write(self._fd, view) :]
        self._end += len(block)


def packed(lines: Sequence[bytes]) -> bytes:
    """A block of lines, without its length."""
    return zlib.compress(b"\n".join(lines), _LEVEL)


def unpacked(block: bytes) -> list[bytes]:
    """Its lines. Raises zlib.error."""
    return zlib.decompress(block).split(b"\n")


def read_raw_line(path: str, block: int, line: int) -> bytes:
    """One line by its place. Raises OSError, and ValueError for a file that is damaged."""
    try:
        return _lines_of(path, block)[line]
    except (struct.error, zlib.error, IndexError) as error:
        raise ValueError(f"{path} is damaged at byte {block}: {error}") from error


def blocks(path: str) -> Iterator[tuple[int, list[bytes] | None]]:
    """Each block of a file: its place and its lines, None where they cannot be read. Raises OSError."""
    with open(path, "rb") as file:  # noqa: PTH123 - a path as text
        while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
            place = file.tell() - _LENGTH.size
            try:
                yield place, unpacked(file.read(_LENGTH.unpack(head)[0]))
            except zlib.error:
                yield place, None


def block_of(lines: Sequence[bytes]) -> bytes:
    """A block of lines as it stands in a file."""
    deflated = packed(lines)
    return _LENGTH.pack(len(deflated)) + deflated


def blocks_at(path: str, places: Sequence[int], end: int) -> Iterator[tuple[int, int, list[bytes] | None]]:
    """The blocks at these places, in ascending order and before `end`: place, bytes behind its length, and lines, None
    where they cannot be read. A length that a disk has damaged is not believed: no block reaches to the next. Raises
    OSError.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - a path as text
        for place, limit in pairwise((*places, end)):
            file.seek(place)
            most = limit - place - _LENGTH.size
            head = file.read(_LENGTH.size)
            length = min(_LENGTH.unpack(head)[0], most) if len(head) == _LENGTH.size else most
            try:
                yield place, length, unpacked(file.read(length))
            except zlib.error:
                yield place, most, None


def overwrite_block(path: str, place: int, length: int) -> None:
    """Leave nothing of a block but its length, on disk; so many bytes are behind that. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.pwrite(fd, bytes(length), place + _LENGTH.size)
        os.fsync(fd)
    finally:
        os.close(fd)


def count_lines(path: str) -> int:
    """How many lines of a file can be read; 0 where there is none. Raises OSError."""
    if not os.path.exists(path):  # noqa: PTH110 - a path as text
        return 0
    return sum(len(lines) for _, lines in blocks(path) if lines)


# A block never changes once a commit knows it; a search reads the lines of one, one after the other.
@lru_cache(maxsize=8)
def _lines_of(path: str, block: int) -> list[bytes]:
    with open(path, "rb") as file:  # noqa: PTH123 - a path as text
        file.seek(block)
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        return unpacked(file.read(length))
