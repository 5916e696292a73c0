"""Log lines that never delay a decision: one atomic write to a pipe; a small process does the rest.

`LogPipe` belongs to every process that logs. A line is at most PIPE_BUF bytes, so that one non-blocking write puts
the whole of it into the pipe or nothing; a line for which the pipe is full is dropped and counted, for the master in a
`Tally`, and the next one that gets through is preceded by the count. `master/processes/logger.py` reads the pipe.

Values come from outside: whatever is not a printable character is escaped, so that one event is one line and a
terminal that shows it does nothing but show it. Raises nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import time
from typing import TYPE_CHECKING

from forkpolicy.secrets import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# Where the local syslog daemon listens (syslog(3)).
SYSLOG_SOCKET = "/dev/log"
# Linux's PIPE_BUF: up to here a write to a pipe is atomic (pipe(7)).
MAX_LINE_BYTES = select.PIPE_BUF
# An hour of a busy server's refusals fits while the target is down; it is what an unprivileged process may have.
PIPE_BYTES = 1 << 20
# syslog(3) severities; the first byte of a line in the pipe.
PRIORITY = {"critical": 2, "error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}
# Values are cut to the first of these lengths that makes the line fit.
CUT_CHARACTERS = (1000, 250, 60)

_PLAIN = re.compile(r"[!#-<>-\[\]-~]+").fullmatch
_QUOTES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


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
        self._encode: Callable[[Mapping[str, object]], str] = _json if style == "json" else _logfmt
        self._second, self._second_text = 0, ""

    @property
    def fds(self) -> tuple[int, ...]:
        """The descriptors that it takes to write lines."""
        return (self.fd, self.lost.fd) if self.lost else (self.fd,)

    def named(self, **fields: object) -> LogPipe:
        """The same pipe for another process, with fields that name it."""
        return LogPipe(self.fd, self.style, {**self.fields, **fields}, self.lost)

    def event(self, level: str, event: str, **fields: object) -> None:
        """Log one event, without passwords."""
        self._write(level, {"event": event, **self.fields, **_without_passwords(fields)})

    def decision(self, **fields: object) -> None:
        """Log one decision."""
        self._write("info", {"event": "decision", **self.fields, **fields})

    def line(self, level: str, event: str, **fields: object) -> bytes:
        """The line of an event, without its newline, for a caller that does not write it to the pipe."""
        head = {"time": self._now(), "level": level, "event": event}
        return self._fitting(PRIORITY[level], {**head, **self.fields, **_without_passwords(fields)})[:-1]

    def _write(self, level: str, fields: Mapping[str, object]) -> None:
        head = {"time": self._now(), "level": level}
        if self.dropped and self._put("warning", {**head, "level": "warning", **_lost(self.dropped), **self.fields}):
            self.dropped = 0
        if not self._put(level, {**head, **fields}):
            self.dropped += 1
            if self.lost:
                self.lost.add(1)

    def _put(self, level: str, fields: Mapping[str, object]) -> bool:
        try:
            os.write(self.fd, self._fitting(PRIORITY[level], fields))
        except BlockingIOError:
            return False
        except BrokenPipeError:
            # The logger has ended; the master starts another. Lines lost meanwhile are counted.
            return False
        return True

    def _fitting(self, priority: int, fields: Mapping[str, object]) -> bytes:
        line = f"{priority}{self._encode(fields)}\n".encode()
        for length in CUT_CHARACTERS:
            if len(line) <= MAX_LINE_BYTES:
                return line
            cut = {**{key: _cut(value, length) for key, value in fields.items()}, "cut": f"values at {length}"}
            line = f"{priority}{self._encode(cut)}\n".encode()
        if len(line) <= MAX_LINE_BYTES:
            return line
        kept = {key: fields[key] for key in ("time", "level", "event", "pid", "worker") if key in fields}
        return f"{priority}{self._encode({**kept, 'cut': 'line too long'})}\n".encode()

    def _now(self) -> str:
        now_s = time.time()
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((now_s - second) * 1000):03d}Z"


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


def printed(lines: Iterable[bytes], *, for_journal: bool) -> bytes:
    """Lines of a pipe as standard error gets them: under systemd each begins with its priority, as sd-daemon(3) has it,
    elsewhere without.
    """
    return b"".join((b"<%c>%b\n" % (line[0], line[1:])) if for_journal else line[1:] + b"\n" for line in lines)


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


def escaped(text: str) -> str:
    r"""A text as it may stand in quotes on one line: what is not printable as an escape, raw bytes as `\xNN`."""
    if text.isascii() and text.isprintable():
        return text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(_escaped_character(character) for character in text)


def _escaped_character(character: str) -> str:
    code = ord(character)
    if character in _QUOTES:
        return _QUOTES[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _logfmt(fields: Mapping[str, object]) -> str:
    return " ".join(f"{key}={_logfmt_value(value)}" for key, value in fields.items())


def _logfmt_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        value = _logfmt(value)
    text = str(value)
    return text if _PLAIN(text) else f'"{escaped(text)}"'


def _json(fields: Mapping[str, object]) -> str:
    return json.dumps({key: _json_value(value) for key, value in fields.items()}, separators=(",", ":"))


def _json_value(value: object) -> object:
    if isinstance(value, dict):
        return {_json_text(str(key)): _json_value(each) for key, each in value.items()}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return _json_text(str(value))


def _json_text(text: str) -> str:
    # A lone surrogate is not valid JSON for most readers: raw bytes become the text \xNN, in names of attributes, too.
    return text if text.isascii() else "".join(_without_surrogate(character) for character in text)


def _without_surrogate(character: str) -> str:
    code = ord(character)
    if not 0xD800 <= code <= 0xDFFF:
        return character
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _cut(value: object, length: int) -> object:
    if isinstance(value, dict):
        return {str(key)[:length]: _cut(each, length) for key, each in value.items()}
    text = str(value)
    return value if len(text) <= length else f"{text[:length]}..."
