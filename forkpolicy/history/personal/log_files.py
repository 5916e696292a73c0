"""A person in the log that the server writes: decisions that were not taken in yet, and those that were, until their
file is removed.

Nothing of a file moves while the server appends to it and the ingester reads on from an offset: what goes is
overwritten in its place. Raises OSError.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.history.follow import log_files, whole_lines
from forkpolicy.history.lines import MAX_LINE_BYTES
from forkpolicy.history.personal.person import Forgotten, forgotten_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.history.follow import LogFile
    from forkpolicy.history.personal.person import Person


def lines_of(log: str, person: Person) -> Iterator[bytes]:
    """Each decision of the person."""
    for file in log_files(log):
        if file.id:
            for _, line in whole_lines(file, 0):
                if line and person.is_of(line):
                    yield line


def unnamed(log: str) -> list[Path]:
    """Files beside the log that nothing here reads: compressed ones, and those of other programs."""
    return [file.path for file in log_files(log) if not file.id]


def may_change(log: str) -> bool:
    """Whether we may overwrite what stands in each of its files."""
    return all(os.access(file.path, os.R_OK | os.W_OK) for file in log_files(log) if file.id)


def forget_in_log(log: str, person: Person, position: Callable[[str], int]) -> Forgotten:
    """Overwrite every decision of the person, and the address in lines of others. Counts what was not taken in:
    `position` is how far a file was.
    """
    decisions = blotted = 0
    for file in log_files(log):
        if not file.id:
            continue
        taken = position(file.id)
        with _opened(file) as (fd, opened):
            for start, is_decision, text in _changes(fd, opened, person):
                os.pwrite(fd, text, start)
                decisions += is_decision and start >= taken
                blotted += not is_decision and start >= taken
            os.fsync(fd)
    return Forgotten(decisions, blotted)


def _changes(fd: int, file: LogFile, person: Person) -> Iterator[tuple[int, bool, bytes]]:
    """Where something is to be written, whether a decision of the person stands there, and what is to."""
    end = 0
    for after, line in whole_lines(file, 0):
        start, end = end, after
        if line and person.is_of(line):
            yield start, True, forgotten_line(line)
        elif line and person.is_in(line):
            yield start, False, person.blotted(line)
    # A full disk may have left the beginning of a line.
    rest = os.pread(fd, MAX_LINE_BYTES, end)
    if person.is_in(rest):
        yield end, False, person.blotted(rest)


@contextmanager
def _opened(file: LogFile) -> Iterator[tuple[int, LogFile]]:
    """For writing, and the same one for reading, whatever its path is by then. Who may write to the directory must not
    choose what root overwrites.
    """
    fd = os.open(file.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise PermissionError(1, "it has another name, too, or is not a file", str(file.path))
        yield fd, file._replace(path=Path(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)
