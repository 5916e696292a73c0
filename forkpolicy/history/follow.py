"""The files of the history's log, the oldest first: each known by the name in its first line, read from an offset on.

The server appends to the file at the log's path, and begins another one when that has been renamed. So a file may be
renamed at any time, by us (`rotate`) or by logrotate; an inode number says nothing, since it comes again. Only whole
lines are read: the last one may still be on its way. One that is longer than any of ours is skipped in pieces, so that
memory and time stay small whatever has no end of line. Raises OSError.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.lines import MAX_LINE_BYTES, file_id

if TYPE_CHECKING:
    from collections.abc import Iterator

# A line has at most as many bytes as a pipe takes at once; the first one is short.
_FIRST_LINE_BYTES: Final = 4096
_READ_BYTES: Final = 1 << 20


class LogFile(NamedTuple):
    """One file: its path now, the name that its first line gives it (empty: none), size and last change."""

    path: Path
    id: str
    size: int
    changed_s: float


def log_files(path: str) -> list[LogFile]:
    """Every file of the log, those that were renamed first, from the oldest on. Compressed ones are left out."""
    current = Path(path)
    found = (_look(each) for each in _beside(current))
    return sorted((file for file in found if file), key=lambda file: (file.path == current, file.changed_s))


def whole_lines(file: LogFile, offset: int) -> Iterator[tuple[int, bytes | None]]:
    """Each whole line from an offset on, with the offset behind it. A line with more than MAX_LINE_BYTES is its first
    piece, and None for each further piece of it: an offset within it is a place to go on from, too.
    """
    with file.path.open("rb") as log:
        is_within = offset > 0 and os.pread(log.fileno(), 1, offset - 1) != b"\n"
        log.seek(offset)
        rest = b""
        while data := log.read(_READ_BYTES):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            for line in lines:
                offset += len(line) + 1
                yield offset, None if is_within else line
                is_within = False
            if len(rest) > MAX_LINE_BYTES:
                offset += len(rest)
                yield offset, None if is_within else rest
                is_within, rest = True, b""


def rotate(path: str, file: LogFile) -> None:
    """Rename the file at the log's path after its own name: the server begins another one."""
    os.rename(path, f"{path}.{file.id}")  # noqa: PTH104 - texts


def _beside(current: Path) -> list[Path]:
    try:
        names = os.listdir(current.parent)  # noqa: PTH208 - texts
    except FileNotFoundError:
        return []
    prefix = f"{current.name}."
    return [current.parent / name for name in names if name == current.name or name.startswith(prefix)]


def _look(path: Path) -> LogFile | None:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return None
        with path.open("rb") as log:
            first = log.readline(_FIRST_LINE_BYTES)
    except FileNotFoundError:
        # Renamed or removed meanwhile: it is found under its other name the next time.
        return None
    if not first.endswith(b"\n") and len(first) < _FIRST_LINE_BYTES:
        # On its way.
        return None
    return LogFile(path, file_id(first), status.st_size, status.st_mtime)
