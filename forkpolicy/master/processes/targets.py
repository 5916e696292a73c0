"""Where log lines end: standard error, a file, the local syslog.

A target is opened by the master, or by a process that it forks for that, with the master's rights; the logger, which
has none, is given the descriptor. Raises CannotWriteError, at the start, where a target cannot be opened.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path
from typing import Protocol

from forkpolicy.errors import CannotWriteError
from forkpolicy.log import SYSLOG_SOCKET, printed
from forkpolicy.log_lines import priority_and_text, without_priorities

FACILITY_MAIL = 2 << 3


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

    def write(self, lines: bytes) -> None:
        """Append the lines."""
        _write_all(self._fd, without_priorities(lines))

    def fileno(self) -> int:
        """The file's."""
        return self._fd

    def open_again(self) -> int:
        """Open the path."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        # A FIFO without a reader is an error then (fifo(7)), where open would wait for one without end.
        fd = os.open(self.name, flags | os.O_NONBLOCK, 0o640)
        # The logger may wait for a reader that is slow.
        os.set_blocking(fd, True)
        return fd

    def use(self, fd: int) -> None:
        """Append to that file from now on."""
        before, self._fd = self._fd, fd
        os.close(before)


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
