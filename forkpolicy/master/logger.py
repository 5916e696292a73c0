"""The logger process: reads the pipe of all processes and writes to the one target, which may block as it likes.

Forked by the master before anything else, so that it holds nothing but the pipe and the target. Reopens the target on
USR1. Ends when the last writer has gone, two seconds after the master at the latest: a target that blocks for ever
must not leave a process behind. What a target cannot take (a full disk, a syslog that is away) is counted and
told as soon as it can.

Raises CannotWriteError, in the master and before the fork, if the target cannot be opened.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from typing import TYPE_CHECKING, NoReturn, Protocol

from setproctitle import setproctitle

from forkpolicy.errors import CannotWriteError
from forkpolicy.log import LogPipe, open_pipe, printed
from forkpolicy.process import SIGNALS_OF_MASTER, die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SYSLOG_SOCKET = "/dev/log"
FACILITY_MAIL = 2 << 3
FLUSH_AFTER_MASTER_S = 2.0
READ_BYTES = 1 << 16


class Target(Protocol):
    """Where lines end. Both may raise OSError."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Write lines that begin with their priority digit and have no newline."""

    def reopen(self) -> None:
        """Open the target again, after rotation."""

    def close(self) -> None:
        """Give it up, in a process that has no business with it."""


class StderrTarget:
    """Standard error."""

    def __init__(self) -> None:
        self._for_journal = "JOURNAL_STREAM" in os.environ

    def write(self, lines: Sequence[bytes]) -> None:
        """Write the lines."""
        _write_all(sys.__stderr__.fileno() if sys.__stderr__ else 2, printed(lines, for_journal=self._for_journal))

    def reopen(self) -> None:
        """Standard error is whoever started us's; nothing to do."""

    def close(self) -> None:
        """It stays open: a stack dump of a hung worker goes there."""


class FileTarget:
    """A file, appended to. A link is not followed: whoever owns the directory must not choose what root writes to."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = self._open()

    def write(self, lines: Sequence[bytes]) -> None:
        """Append the lines."""
        _write_all(self._fd, b"".join(line[1:] + b"\n" for line in lines))

    def reopen(self) -> None:
        """Open the path again; the file before stays in use if that fails."""
        before, self._fd = self._fd, self._open()
        os.close(before)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._path, flags, 0o640)


class SyslogTarget:
    """The local syslog, facility mail, as Postfix."""

    def __init__(self) -> None:
        self._socket = self._connect()

    def write(self, lines: Sequence[bytes]) -> None:
        """Send each line as a datagram."""
        for line in lines:
            message = b"<%d>forkpolicy[%d]: %b" % (FACILITY_MAIL | int(line[:1]), os.getppid(), line[1:])
            try:
                self._socket.send(message)
            except OSError:
                # syslogd was restarted: one new connection, then the trouble is real.
                self.reopen()
                self._socket.send(message)

    def reopen(self) -> None:
        """Connect again."""
        self.close()
        self._socket = self._connect()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    @staticmethod
    def _connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        connection.connect(SYSLOG_SOCKET)
        return connection


def open_target(name: str) -> Target:
    """The target of the settings. Raises CannotWriteError."""
    try:
        if name == "stderr":
            return StderrTarget()
        return SyslogTarget() if name == "syslog" else FileTarget(name)
    except OSError as error:
        where = SYSLOG_SOCKET if name == "syslog" else name
        raise CannotWriteError(f"log target {where}: {error.strerror}") from error


class Logger:
    """The master's side: starts the process, starts it again, asks it to reopen its target. `pid` is 0 while there is
    none.
    """

    def __init__(self, target: Target, style: str, title: str) -> None:
        self._target = target
        self._title = title
        self._read_end, write_end = open_pipe()
        self.pipe = LogPipe(write_end, style)
        self.pid = 0

    def start(self, drop: Iterable[Callable[[], None]] = ()) -> None:
        """Fork the process. `drop`: what it closes of the master's, where there is anything yet. Raises OSError."""
        master, self.pid = os.getpid(), 0
        self.pid = os.fork()
        if not self.pid:
            self._run(master, drop)

    def reopen(self) -> None:
        """Let it open its target again. One that is still to be started does so by itself."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGUSR1)

    def drop_in_child(self) -> None:
        """A worker keeps the write end only. The read end in many hands would keep the pipe alive without reader, and
        who could write to the target could write what has not been escaped.
        """
        os.close(self._read_end)
        self._target.close()

    def finish(self) -> None:
        """Wait until the last lines are written, but not for a target that blocks. The master's last act: all other
        writers have ended.
        """
        os.close(self.pipe.fd)
        if self.pid:
            with contextlib.suppress(ChildProcessError, ProcessLookupError):
                os.kill(self.pid, signal.SIGPROF)
                os.waitpid(self.pid, 0)

    def _run(self, master: int, drop: Iterable[Callable[[], None]]) -> NoReturn:
        try:
            for each in drop:
                each()
            os.close(self.pipe.fd)
            setproctitle(self._title)
            _Copying(self._read_end, self._target, self.pipe.style, master).run()
        finally:
            os._exit(0)


class _Copying:
    """The process's whole life."""

    def __init__(self, read_end: int, target: Target, style: str, parent: int) -> None:
        self._parent = parent
        self._read_end = read_end
        self._target = target
        self._lost = 0
        self._reopen_wanted = False
        self._own = LogPipe(-1, style, {"process": "logger"})
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        self._set_signals()
        # What the master opened at its start may have been rotated away since; better that than none.
        with contextlib.suppress(OSError):
            self._target.reopen()
        rest = b""
        while data := self._read():
            *lines, rest = (rest + data).split(b"\n")
            self._write(lines)

    def _set_signals(self) -> None:
        for signum in SIGNALS_OF_MASTER:
            signal.signal(signum, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGUSR1, self._on_reopen)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGPROF, _end_soon)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        die_with_parent(signal.SIGPROF, self._parent)

    def _on_reopen(self, _signum: int, _frame: object) -> None:
        # Runs between any two bytecodes, perhaps inside a write to the target: set the flag, nothing else.
        self._reopen_wanted = True

    def _read(self) -> bytes:
        while True:
            ready, _, _ = select.select([self._read_end, self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, 512)
            if self._reopen_wanted:
                self._reopen()
            if self._read_end in ready:
                return os.read(self._read_end, READ_BYTES)

    def _reopen(self) -> None:
        self._reopen_wanted = False
        try:
            self._target.reopen()
        except OSError as error:
            self._write([self._own.line("error", "log target not reopened", reason=str(error))])
        else:
            self._write([self._own.line("info", "log target reopened")])

    def _write(self, lines: list[bytes]) -> None:
        told = [self._own.line("warning", "log lines lost", count=self._lost)] if self._lost else []
        try:
            self._target.write([*told, *lines])
            self._lost = 0
        except OSError:
            self._lost += len(lines)


def _end_soon(_signum: int, _frame: object) -> None:
    # The master is dead, or about to end. SIGALRM kills whatever this process is stuck in.
    signal.setitimer(signal.ITIMER_REAL, FLUSH_AFTER_MASTER_S)


def _write_all(fd: int, text: bytes) -> None:
    while text:
        text = text[os.write(fd, text) :]
