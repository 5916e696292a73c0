"""Reading the operator's files, so that a generation of settings and policy is one fixed set of bytes.

`Files` reads from disk and remembers what it read; its `snapshot` is what the master hands to its workers, which
read from `SnapshotFiles`: every worker then compiles the very bytes that were checked, whatever happens to the
files meanwhile. Nothing but regular files is read: opening a pipe, a device or a socket may wait for ever, or have
effects. A mount that hangs may stop the process that reads: `reading` is called with each path before it is accessed,
and with an empty one afterwards.

Raises ConfigError when a file or a directory cannot be read.
"""

from __future__ import annotations

import fnmatch
import os
import re
from typing import TYPE_CHECKING

from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.regular_files import read_of_others, read_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

# A key that no path can have marks the result of a glob in a snapshot.
GLOB_PREFIX = "glob\0"
WILDCARD = re.compile(r"[*?\[]")


def _nobody(_path: str) -> None:
    pass


class Files:
    """The files on disk, read once each."""

    def __init__(self, reading: Callable[[str], None] = _nobody) -> None:
        self.snapshot: dict[str, bytes] = {}
        self.secrets: set[str] = set()
        self._reading = reading

    def read(self, path: str | Path) -> bytes:
        """The bytes of a file; the same bytes at every call."""
        return self._read(str(path), read_regular)

    def read_of_others(self, path: str | Path) -> bytes:
        """The same of a file that another user writes (regular_files.py); nothing where it is missing."""
        return self._read(str(path), _or_nothing)

    def _read(self, name: str, read: Callable[[str], bytes]) -> bytes:
        if name not in self.snapshot:
            self._reading(name)
            try:
                self.snapshot[name] = read(name)
            except (OSError, ValueError) as error:
                raise _cannot_read(name, error) from error
            self._reading("")
        return self.snapshot[name]

    def read_secret(self, path: str | Path) -> bytes:
        """The same of a file that is a secret as a whole: `secrets` has its name."""
        self.secrets.add(str(path))
        return self.read(path)

    def glob(self, pattern: str) -> list[str]:
        """The paths that match, sorted; there may be none. A directory that may not be listed is an error, since
        rules would be missing unnoticed.
        """
        self._reading(pattern)
        try:
            found = sorted(_matching(pattern))
        except (OSError, ValueError) as error:
            raise _cannot_read(getattr(error, "filename", None) or pattern, error) from error
        self._reading("")
        self.snapshot[GLOB_PREFIX + pattern] = "\n".join(found).encode("utf-8", "surrogateescape")
        return found


class SnapshotFiles(Files):
    """The files of a snapshot; touches no disk."""

    def __init__(self, snapshot: Mapping[str, bytes]) -> None:
        super().__init__()
        self.snapshot = dict(snapshot)

    def read(self, path: str | Path) -> bytes:
        """The bytes as they were when the snapshot was taken. Raises ConfigError for what could not be read then."""
        name = str(path)
        if name not in self.snapshot:
            raise ConfigError([Diagnostic(name, 0, 0, "could not be read when this generation was made")])
        return self.snapshot[name]

    def read_of_others(self, path: str | Path) -> bytes:
        """The same."""
        return self.read(path)

    def glob(self, pattern: str) -> list[str]:
        """The paths as they were when the snapshot was taken."""
        found = os.fsdecode(self.snapshot[GLOB_PREFIX + pattern])
        return found.split("\n") if found else []


def _or_nothing(path: str) -> bytes:
    try:
        return read_of_others(path)
    except FileNotFoundError:
        return b""


def _cannot_read(name: str, error: OSError | ValueError) -> ConfigError:
    why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
    if "\0" in name:
        # Releases of Python word it differently.
        why = "its name has a NUL character"
    message = why if why.startswith("is ") else f"cannot be read: {why}"
    return ConfigError([Diagnostic(name, 0, 0, message)])


def _matching(pattern: str) -> list[str]:
    """As the shell does it: `*`, `?` and `[...]` in any part of the path, hidden names only with a dot."""
    if not WILDCARD.search(pattern):
        return [pattern] if os.path.lexists(pattern) else []
    head, name = os.path.split(pattern)
    directories = _matching(head) if WILDCARD.search(head) else [head]
    if WILDCARD.search(name):
        return [os.path.join(each, found) for each in directories for found in _names(each, name)]  # noqa: PTH118
    return [path for each in directories if os.path.lexists(path := os.path.join(each, name))]  # noqa: PTH118


def _names(directory: str, pattern: str) -> list[str]:
    try:
        found = os.listdir(directory or ".")  # noqa: PTH208 - texts, as above
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [each for each in fnmatch.filter(found, pattern) if each[0] != "." or pattern[0] == "."]
