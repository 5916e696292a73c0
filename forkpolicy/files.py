"""Reading the operator's files, so that a generation of settings and policy is one fixed set of bytes.

`Files` reads from disk and remembers what it read; its `snapshot` is what the master hands to its workers, which
read from `SnapshotFiles`: every worker then compiles the very bytes that were checked, whatever happens to the
files meanwhile. Raises ConfigError when a file cannot be read.
"""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.errors import Complaint, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

# A key that no path can have marks the answer to a glob in a snapshot.
GLOB_PREFIX = "glob\0"


class Files:
    """The files on disk, read once each."""

    def __init__(self) -> None:
        self.snapshot: dict[str, bytes] = {}

    def read(self, path: str | Path) -> bytes:
        """The bytes of a file; the same bytes however often it is asked for."""
        name = str(path)
        if name not in self.snapshot:
            self.snapshot[name] = _read(name)
        return self.snapshot[name]

    def glob(self, pattern: str) -> list[str]:
        """The paths that match, sorted."""
        found = sorted(glob.glob(pattern))  # noqa: PTH207 - the pattern may be absolute, Path.glob refuses that
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
            raise ConfigError([Complaint(name, 0, 0, "could not be read when this generation was made")])
        return self.snapshot[name]

    def glob(self, pattern: str) -> list[str]:
        """The paths as they were when the snapshot was taken."""
        found = os.fsdecode(self.snapshot[GLOB_PREFIX + pattern])
        return found.split("\n") if found else []


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        message = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise ConfigError([Complaint(name, 0, 0, message)]) from error
