"""One file of another server as lines of text, whatever wrote it. Raises ConfigError for what is not a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.importing.left_out import Origin

if TYPE_CHECKING:
    from forkpolicy.files import Files

# A byte order mark names the encoding; older files in Latin-1 have none.
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class SourceFile(NamedTuple):
    """The lines of a file, without their ends. `encoding`: what they were read as."""

    path: str
    lines: tuple[str, ...]
    encoding: str

    def origin(self, line: int) -> Origin:
        """The place of a line, counted from 1."""
        return Origin(self.path, line)


def read_source(path: str, files: Files) -> SourceFile:
    """Read one file: UTF-8, UTF-16 with its mark, or Latin-1. Raises ConfigError."""
    raw = files.read(path)
    text, encoding = _decoded(raw)
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        message = "a NUL byte: this is not a text file (is it compressed, or a database?)"
        raise ConfigError([Diagnostic(path, line, 0, message)])
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return SourceFile(path, tuple(lines[:-1] if lines[-1] == "" else lines), encoding)


def _decoded(raw: bytes) -> tuple[str, str]:
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw[len(mark) :].decode(encoding, "replace"), encoding
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "latin-1"
