"""Standard input, output and error as a command finds them: closed, on a full disk, or without a reader.

`make_usable` is called before anything is read or written; it keeps the descriptors 0 to 2 from being taken by the
next file that is opened, such as a table that would then be read as standard input. `why_unwritable` distinguishes
failures of standard output from those of other files.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

STANDARD_OUTPUT = 1
STANDARD_ERROR = 2


def make_usable() -> None:
    """Let every descriptor be open and every text be written: a name that the locale has no letters for is shown with
    escapes, as Python does on standard error.
    """
    _fill_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fill_closed() -> None:
    """Put /dev/null where a standard descriptor is closed: one that cannot be read or written, so that using it fails
    as it did; but what goes to standard error is lost. `sys.stdin` stays None.
    """
    if sys.stdin is not None and sys.stdout is not None and sys.stderr is not None:
        return
    # The lowest free descriptor is the one that open() gives.
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        if fd != STANDARD_ERROR:
            opposite = os.open(os.devnull, os.O_RDONLY if fd == STANDARD_OUTPUT else os.O_WRONLY)
            os.dup2(opposite, fd)
            os.close(opposite)
        os.set_inheritable(fd, True)
    os.close(fd)
    if sys.stdout is None:
        sys.stdout = _writer(STANDARD_OUTPUT)
    if sys.stderr is None:
        sys.stderr = _writer(STANDARD_ERROR)


def why_unwritable() -> str:
    """Why nothing can be written to standard output, for a caller whose write just failed; empty if that works."""
    try:
        # An empty line, since what was meant to be written may have been lost with the failure.
        print(flush=True)
    except OSError as error:
        return why(error)
    return ""


def why(error: OSError) -> str:
    """Why a write failed, in words."""
    return "it is closed" if error.errno == errno.EBADF else error.strerror or str(error)


def discard_output() -> None:
    """Discard what standard output still holds, which would fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _writer(fd: int) -> TextIO:
    return open(fd, "w", closefd=False, encoding="utf-8")
