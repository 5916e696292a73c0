"""A logger process: reads the pipe of all processes and writes to the one target, which may block as it likes. The log
has one, the log of `[history]` another, so that neither waits for the other's target.

Forked by the master before anything else; it holds the pipe and the target, and no right of root's: as root it becomes
the workers' user. So it cannot open a file that was rotated: on USR1 the master forks a process that opens the target
with the master's rights, passes the descriptor (SCM_RIGHTS) and ends; opening may block, too. A log whose files are
signed needs no signal: once a second its logger looks whether the file has been renamed, and asks the master for that.

Ends when the last writer has gone, two seconds after the master at the latest: a target that blocks for ever must not
leave a process behind. What a target cannot take (a full disk, a syslog that is away) is counted, and reported on
standard error when it begins and in the log as soon as that takes lines again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

from forkpolicy.decision_ids import decision_ids
from forkpolicy.log import LogPipe, open_pipe, report_on_stderr
from forkpolicy.master.processes.child import start_child
from forkpolicy.master.processes.definitions import Definitions
from forkpolicy.master.processes.losses import Losses, Trouble
from forkpolicy.master.processes.pacing import Pacing
from forkpolicy.master.processes.targets import FileTarget, NotWrittenError, StderrTarget, why_not_opened

if TYPE_CHECKING:
    from forkpolicy.master.processes.targets import Target
    from forkpolicy.process import Identity

FLUSH_AFTER_MASTER_S = 2.0
# How often a signed file is compared with its path, and how long a new one may take to come.
LOOK_S = 1.0
OPENING_S = 5.0
# Opening a file takes milliseconds, and for ever where its file system hangs: then the log goes on where it was.
OPEN_TIMEOUT_S = 2.0
READ_BYTES = 1 << 16
MAX_REASON_BYTES = 1000
_ASKS = b"?"
_OPENED = b"+"


class Logger:
    """The master's side: starts the process, starts it again, has its target opened again. `pid` is 0 while there is
    none. `name`: what `status` calls it. `signs`: its target is a file of which each new one begins with a line that
    names it.
    """

    def __init__(
        self, target: Target, style: str, name: str, identity: Identity | None = None, *, signs: bool = False
    ) -> None:
        self._target = target
        self.name = name
        self._signs = signs
        self._title = f"forkpolicy: {name}"
        self._identity = identity
        self._read_end, write_end = open_pipe()
        # Opened targets, or why there is none: whole messages. What comes while no logger lives waits for the next.
        self._opened, self._opening = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.losses = Losses(target.name, self._read_end, is_stderr=isinstance(target, StderrTarget))
        self.pipe = LogPipe(write_end, style, lost=self.losses.at_pipe)
        self.pid = 0

    def start(self, *, reopened: bool = False) -> None:
        """Fork the process. `reopened`: its target is being opened again, and it waits for that. Raises OSError."""
        self.pid = 0
        wait_s = OPEN_TIMEOUT_S if reopened else 0.0
        keep = (self._read_end, self._opened.fileno(), self._target.fileno(), self.losses.at_target.fd)
        self.pid = start_child(
            lambda: _Copying(
                self._read_end, self._opened, self._target, self.pipe.style, self.losses, signs=self._signs
            ).run(wait_s),
            title=self._title,
            keep=keep,
            identity=self._identity,
            death=signal.SIGPROF,
            handlers={signal.SIGPROF: _end_soon},
        )

    def start_again(self) -> None:
        """After its end. What the master opened at its start may have been rotated away since. Raises OSError."""
        self.start(reopened=True)
        self.reopen()

    def reopen(self) -> None:
        """Have the target opened again, by a process of its own: that takes the master's rights, and may block."""
        keep = (self._opening.fileno(), self._opened.fileno())
        try:
            start_child(self._open_again, title=f"{self._title}, opening", keep=keep)
        except OSError as error:
            self._report_opened(str(error.strerror).encode())

    def fileno(self) -> int:
        """What the logger asks through to have its target opened again, and the process that opens it reports through;
        see `asked`.
        """
        return self._opening.fileno()

    def asked(self, _events: int) -> None:
        """The logger asks for it: its file has been renamed. Or it was opened: a master that kept the previous one open
        would keep its space from the disk, for ever once it was removed.
        """
        with contextlib.suppress(BlockingIOError):
            asked, fds, _, _ = socket.recv_fds(self._opening, 1, 1, socket.MSG_DONTWAIT)
            for fd in fds:
                self._target.use(fd)
            if asked == _ASKS:
                self.reopen()

    def _open_again(self) -> None:
        try:
            fd = self._target.open_again()
        except OSError as error:
            self._report_opened(why_not_opened(self._target.name, error).encode())
        else:
            self._report_opened(b"", fd)
            if fd is not None:
                socket.send_fds(self._opened, [_OPENED], [fd])

    def _report_opened(self, reason: bytes, fd: int | None = None) -> None:
        socket.send_fds(self._opening, [_OPENED + reason[:MAX_REASON_BYTES]], [] if fd is None else [fd])

    def finish(self) -> None:
        """Wait until the last lines are written, but not for a target that blocks: lines that it has not taken are
        counted on standard error. The master's last act: all other writers have ended.
        """
        os.close(self.pipe.fd)
        if not self.pid:
            return
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            os.kill(self.pid, signal.SIGPROF)
            os.waitpid(self.pid, 0)
        left = self._lines_left()
        if left:
            report_on_stderr(f"{left} log lines or more are lost at the end: {self._target.name} has not taken them")

    def _lines_left(self) -> int:
        os.set_blocking(self._read_end, False)
        left = 0
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._read_end, READ_BYTES):
                left += data.count(b"\n")
        return left


class _Copying:
    """The process's whole life."""

    def __init__(
        self, read_end: int, opened: socket.socket, target: Target, style: str, losses: Losses, *, signs: bool
    ) -> None:
        self._read_end = read_end
        self._pipe_bytes = fcntl.fcntl(read_end, fcntl.F_GETPIPE_SZ)
        self._pacing = Pacing(self._pipe_bytes)
        self._opened: list[socket.socket] = [opened]
        self._target = target
        self._losses = losses
        self._lost = 0
        self._trouble = Trouble()
        self._own = LogPipe(-1, style, {"process": "logger"})
        self._definitions = Definitions()
        self._signs = signs
        self._look_at_s = 0.0

    def run(self, wait_s: float) -> None:
        rest = b""
        if wait_s:
            # What has waited for a new logger belongs into the file of today, not into one that was rotated away.
            self._ready([], wait_s)
        self._sign()
        while data := self._read():
            came = rest + data
            end = came.rfind(b"\n") + 1
            lines, rest = came[:end], came[end:]
            # Empty again: somebody has cut it (logrotate's copytruncate), or nothing could be written until now.
            self._sign()
            self._definitions.note(lines)
            self._write(lines)
            pause_s = self._pacing.pause_s(time.monotonic(), len(data))
            if pause_s:
                self._ready([], pause_s)

    def _read(self) -> bytes:
        while self._read_end not in self._ready([self._read_end], LOOK_S if self._signs else None):
            self._look()
        self._look()
        return os.read(self._read_end, self._pipe_bytes)

    def _look(self) -> None:
        """Ask the master for another file where a signed one is not at its path any more."""
        now_s = time.monotonic()
        if not self._signs or now_s < self._look_at_s or not isinstance(self._target, FileTarget):
            return
        self._look_at_s = now_s + LOOK_S
        if self._opened and self._target.is_renamed:
            self._look_at_s = now_s + OPENING_S
            with contextlib.suppress(OSError):
                self._opened[0].send(_ASKS, socket.MSG_DONTWAIT)

    def _ready(self, pipe: list[int], timeout_s: float | None = None) -> list[int | socket.socket]:
        """What can be read of the pipe and the targets that the master has opened; the latter are taken."""
        waited: list[int | socket.socket] = [*pipe, *self._opened]
        ready, _, _ = select.select(waited, [], [], timeout_s)
        for opened in [each for each in self._opened if each in ready]:
            self._take_target(opened)
        return ready

    def _take_target(self, opened: socket.socket) -> None:
        message, fds, _, _ = socket.recv_fds(opened, MAX_REASON_BYTES + 1, 1)
        if not message:
            # The master has died.
            self._opened.remove(opened)
            return
        for fd in fds:
            self._target.use(fd)
        if reason := message[1:].decode():
            self._write(self._own.line("error", "log target not reopened", reason=reason))
        else:
            is_signed = self._sign()
            definitions = b"" if is_signed else self._definitions.text()
            self._write(self._own.line("info", "log target reopened") + definitions)

    def _sign(self) -> bool:
        """Begin a new file with a name that no other has (inode numbers come again), and what is in force."""
        if not (self._signs and isinstance(self._target, FileTarget) and self._target.has_no_line()):
            return False
        begins = self._own.line("info", "file begins", file=decision_ids()(), host=socket.gethostname())
        self._write(begins + self._definitions.text())
        return True

    def _write(self, lines: bytes) -> None:
        lost = self._own.line("warning", "log lines lost", count=self._lost) if self._lost else b""
        try:
            self._target.write(lost + lines)
            self._lost = 0
        except OSError as error:
            # The line about lost ones stands first, and is written again.
            count = error.lines if isinstance(error, NotWrittenError) else lines.count(b"\n")
            count = min(count, lines.count(b"\n"))
            self._lost += count
            self._losses.at_target.add(count)
            if self._trouble.begins(time.monotonic()) and not isinstance(self._target, StderrTarget):
                report_on_stderr(f"log lines are lost: {self._target.name}: {error.strerror}")


def _end_soon(_signum: int, _frame: object) -> None:
    # The master has died, or is about to end. SIGALRM kills whatever this process is stuck in.
    signal.setitimer(signal.ITIMER_REAL, FLUSH_AFTER_MASTER_S)
