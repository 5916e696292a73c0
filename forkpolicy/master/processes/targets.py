"""Where log lines end: standard error, a file, the local syslog.

A target is opened by the master, or by a process that it forks for that, with the master's rights; the logger, which
has none, is given the descriptor. Raises CannotWriteError, at the start, where a target cannot be opened.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Protocol

from forkpolicy.errors import CannotWriteError
from forkpolicy.log import SYSLOG_SOCKET, printed
from forkpolicy.log_lines import priority_and_text, without_priorities

FACILITY_MAIL = 2 << 3
# The first line of a signed file has less.
_FIRST_LINE_BYTES = 4096


class NotWrittenError(OSError):
    """A target has not taken the last `lines` lines of what it was given."""

    def __init__(self, error: OSError, lines: int) -> None:
        super().__init__(error.errno, error.strerror)
        self.lines = lines


class Target(Protocol):
    """Where lines end. `name`: what an operator calls it."""

    name: str

    def write(self, lines: bytes) -> None:
        """Write whole lines as the pipe has them (log_lines.py). Raises OSError."""

    def fileno(self) -> int:
        """The descriptor that is written to."""

    def open_again(self) -> int | None:
        """Another descriptor, after rotation; None where there is nothing to open. Raises OSError. May block."""

    def use(self, fd: int) -> None:
        """Write to that descriptor from now on."""


class StderrTarget:
    """Standard error."""

    name = "standard error"

    def __init__(self) -> None:
        self._for_journal = "JOURNAL_STREAM" in os.environ

    def write(self, lines: bytes) -> None:
        """Write the lines."""
        _write_all(self.fileno(), printed(lines, for_journal=self._for_journal))

    def fileno(self) -> int:
        """Standard error's."""
        return sys.__stderr__.fileno() if sys.__stderr__ else 2

    def open_again(self) -> None:
        """It belongs to the process that started us: there is nothing to open."""

    def use(self, fd: int) -> None:
        """Never called: there is no other one."""
        os.close(fd)


class FileTarget:
    """A file or a FIFO, appended to. No link is followed: the directory's owner must not choose what root writes to."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._fd = self.open_again()
        # Of a FIFO, or a file that may only be written to, we know what we wrote ourselves.
        self._is_torn = False

    def write(self, lines: bytes) -> None:
        """Append the lines. Raises NotWrittenError."""
        # What follows half a line must not become a part of it.
        end = b"\n" if self._ends_within_a_line() else b""
        left = end + without_priorities(lines)
        try:
            while left:
                written = os.write(self._fd, left)
                self._is_torn, left = left[written - 1 : written] != b"\n", left[written:]
        except OSError as error:
            raise NotWrittenError(error, left.removeprefix(end).count(b"\n")) from error

    def has_no_line(self) -> bool:
        """Whether no line stands in it yet. The beginning of a first one, which a full disk has left, is removed."""
        size = os.fstat(self._fd).st_size
        if 0 < size < _FIRST_LINE_BYTES and self._has_no_end_of_line(size):
            os.ftruncate(self._fd, 0)
            return True
        return size == 0

    def _has_no_end_of_line(self, size: int) -> bool:
        try:
            return b"\n" not in os.pread(self._fd, size, 0)
        except OSError:
            # It may only be written to.
            return False

    def _ends_within_a_line(self) -> bool:
        """Whether a full disk has taken the beginning of a line only: from us, from a logger that was killed, or from
        another server's.
        """
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode):
                return self._is_torn
            return os.pread(self._fd, 1, max(status.st_size - 1, 0)) not in (b"", b"\n")
        except OSError:
            return self._is_torn

    @property
    def is_renamed(self) -> bool:
        """Whether another file is at its path, or none."""
        ours = os.fstat(self._fd)
        try:
            there = os.lstat(self.name)
        except FileNotFoundError:
            return True
        except OSError:
            # A directory that may not be entered: nothing is known.
            return False
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def fileno(self) -> int:
        """The file's."""
        return self._fd

    def open_again(self) -> int:
        """Open the path, for reading its end, too, where we may."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        # Its group may read it, whatever umask a unit has set: the history's ingester does.
        before = os.umask(0o027)
        try:
            # A FIFO without a reader is an error then (fifo(7)), where open would wait for one without end.
            fd = os.open(self.name, flags | os.O_NONBLOCK, 0o640)
        finally:
            os.umask(before)
        # The logger may wait for a reader that is slow.
        os.set_blocking(fd, True)
        return _readable(fd)

    def use(self, fd: int) -> None:
        """Append to that file from now on."""
        before, self._fd, self._is_torn = self._fd, fd, False
        os.close(before)


def _readable(fd: int) -> int:
    """A descriptor of the same file that can be read, too; the same one where there is none."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    try:
        both = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except OSError:
        return fd
    os.close(fd)
    return both


class SyslogTarget:
    """The local syslog, facility mail, as Postfix."""

    name = "syslog"

    def __init__(self) -> None:
        self._socket = _connected_to_syslog()

    def write(self, lines: bytes) -> None:
        """Send each line as a datagram."""
        for line in lines.splitlines():
            priority, text = priority_and_text(line)
            message = b"<%d>forkpolicy[%d]: %b" % (FACILITY_MAIL | priority, os.getppid(), text)
            try:
                self._socket.send(message)
            except OSError:
                # syslogd was restarted: one new connection, then it is an error.
                self.use(self.open_again())
                self._socket.send(message)

    def fileno(self) -> int:
        """The connection's."""
        return self._socket.fileno()

    def open_again(self) -> int:
        """Connect again."""
        return _connected_to_syslog().detach()

    def use(self, fd: int) -> None:
        """Send to that connection from now on."""
        self._socket.close()
        self._socket = socket.socket(fileno=fd)


def open_target(name: str) -> Target:
    """The target of the settings. Raises CannotWriteError."""
    try:
        if name == "stderr":
            return StderrTarget()
        return SyslogTarget() if name == "syslog" else FileTarget(name)
    except OSError as error:
        where = SYSLOG_SOCKET if name == "syslog" else name
        raise CannotWriteError(f"log target {where}: {why_not_opened(name, error)}") from error


def why_not_opened(name: str, error: OSError) -> str:
    """Why a target cannot be opened."""
    if error.errno == errno.ENXIO and Path(name).is_fifo():
        return "no process reads this FIFO: start its reader first"
    return error.strerror or str(error)


def _connected_to_syslog() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        connection.connect(SYSLOG_SOCKET)
    except OSError:
        connection.close()
        raise
    return connection


def _write_all(fd: int, text: bytes) -> None:
    while text:
        text = text[os.write(fd, text) :]
