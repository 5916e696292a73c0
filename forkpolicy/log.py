"""Log lines that never delay a decision: one atomic write to a pipe; a small process does the rest.

`LogPipe` belongs to every process that logs. A line is at most PIPE_BUF bytes, so that one non-blocking write puts
the whole of it into the pipe or nothing; a line for which the pipe is full is dropped and counted, for the master in a
`Tally`, and the next one that gets through is preceded by the count. `master/processes/logger.py` reads the pipe.

log_lines.py makes the bytes of a line; a line that is written often has a function of its own (`writer`). Raises
nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time
from typing import TYPE_CHECKING

from forkpolicy.log_formats import LineFormat
from forkpolicy.log_lines import INFO, MAX_LINE_BYTES, line_bytes, priority_and_text, without_priorities
from forkpolicy.secrets import masked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkpolicy.log_formats import Writer

# Where the local syslog daemon listens (syslog(3)).
SYSLOG_SOCKET = "/dev/log"
# An hour of a busy server's refusals fits while the target is down; it is what an unprivileged process may have.
PIPE_BYTES = 1 << 20
# syslog(3) severities.
PRIORITY = {"critical": 2, "error": 3, "warning": 4, "notice": 5, "info": INFO, "debug": 7}


class Tally:
    """A number that many processes add to and one takes, without a lock: the kernel adds (eventfd(2))."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def add(self, count: int) -> None:
        """Add to it, without waiting: it is full at 2^64."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self.fd, count)

    def take(self) -> int:
        """What was added since the last time."""
        try:
            return os.eventfd_read(self.fd)
        except BlockingIOError:
            return 0


class LogPipe:
    """Where one process writes its lines. `fields` are added to each line, such as the worker's number; `lost` counts
    the lines of all processes that found the pipe full.
    """

    def __init__(
        self,
        fd: int,
        style: str = "logfmt",
        fields: Mapping[str, object] | None = None,
        lost: Tally | None = None,
    ) -> None:
        self.fd = fd
        self.style = style
        self.fields = dict(fields or {})
        self.lost = lost
        self.dropped = 0
        self._second = self._millisecond = 0
        self._second_text = self._text = ""

    @property
    def fds(self) -> tuple[int, ...]:
        """The descriptors that it takes to write lines."""
        return (self.fd, self.lost.fd) if self.lost else (self.fd,)

    def named(self, **fields: object) -> LogPipe:
        """The same pipe for another process, with fields that name it."""
        return LogPipe(self.fd, self.style, {**self.fields, **fields}, self.lost)

    def event(self, level: str, event: str, **fields: object) -> None:
        """Log one event, without passwords."""
        self._write(self._line(level, {"event": event, **self.fields, **_without_passwords(fields)}))

    def writer(self, level: str, event: str, fields: Mapping[str, object], arguments: Sequence[str]) -> Writer:
        """A fast function that logs one event of a kind, for LineFormat's `fields` and `arguments`. Nothing in it is
        masked.
        """
        every = {"level": level, "event": event, **self.fields, **fields}
        return LineFormat(self.style, PRIORITY[level], every, arguments).writer(self._now, self._write)

    def line(self, level: str, event: str, **fields: object) -> bytes:
        """The line of an event, for a caller that does not write it to the pipe."""
        return self._line(level, {"event": event, **self.fields, **_without_passwords(fields)})

    def _line(self, level: str, fields: Mapping[str, object]) -> bytes:
        return line_bytes(self.style, PRIORITY[level], {"time": self._now(), "level": level, **fields})

    def _write(self, line: bytes) -> None:
        try:
            if self.dropped:
                os.write(self.fd, self._line("warning", {**_lost(self.dropped), **self.fields}))
                self.dropped = 0
            os.write(self.fd, line)
        except (BlockingIOError, BrokenPipeError):
            # Full, or the logger has ended and the master starts another. Lines lost meanwhile are counted.
            self.dropped += 1
            if self.lost:
                self.lost.add(1)

    def _now(self) -> str:
        millisecond = time.time_ns() // 1_000_000
        # A busy worker logs many lines in one millisecond.
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            second, thousandths = divmod(millisecond, 1000)
            if second != self._second:
                self._second = second
                self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._text = f"{self._second_text}.{thousandths:03d}Z"
        return self._text


def open_pipe() -> tuple[int, int]:
    """A pipe for lines: (read end, write end). The write end never blocks, the read end does."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        # The user has used up fs.pipe-user-pages-soft: the pipe stays at its 64 KiB, lines drop earlier.
        return read_end, write_end
    return read_end, write_end


def printed(lines: bytes, *, for_journal: bool) -> bytes:
    """Whole lines of a pipe as standard error gets them: under systemd each begins with its priority, as sd-daemon(3)
    has it, elsewhere without.
    """
    if not for_journal:
        return without_priorities(lines)
    return b"".join(b"<%d>%b" % priority_and_text(line) for line in lines.splitlines(keepends=True))


def _without_passwords(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: masked(value) if isinstance(value, str) else value for name, value in fields.items()}


def report_on_stderr(text: str) -> None:
    """Write a line to standard error, without passwords, if it has room now: we do not wait for its reader."""
    line = f"forkpolicy: {masked(text)}\n".encode("utf-8", "backslashreplace")[:MAX_LINE_BYTES]
    room = select.poll()
    room.register(2, select.POLLOUT)
    with contextlib.suppress(OSError):
        if room.poll(0):
            os.write(2, line)


def _lost(count: int) -> dict[str, object]:
    return {"event": "log lines dropped", "count": count, "reason": "the log target does not keep up"}
