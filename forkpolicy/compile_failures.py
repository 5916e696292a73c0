"""Which tables of a directory failed to compile, when and why: forkpolicy-compile writes it for `status` and the
metrics, since it may run from a timer whose failures are not read. A table that compiles is removed from the list.

A JSON file next to the tables, replaced as one under the directory's lock. Writing raises OSError; reading returns
nothing where there is no list that can be read.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.documents import InvalidDocumentError, parse, plain
from forkpolicy.secrets import masked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FILE: Final = ".failures"
# The first diagnostics are enough; the compile has printed all of them.
MAX_REASON_CHARACTERS: Final = 1000
MAX_FILE_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class Failure:
    """When a table's compile failed, in seconds since 1970, and why."""

    at: float
    reason: str


Failures = dict[str, Failure]


def failures(directory: Path) -> Failures:
    """By the table's name; entries that are not valid are left out."""
    found = None
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(_read(directory / FILE))
    read = {}
    for name, each in found.items() if isinstance(found, dict) else ():
        with contextlib.suppress(InvalidDocumentError):
            read[name] = parse(Failure, each, others=True)
    return read


def failures_of(directory: str, served: Collection[str]) -> Failures:
    """Those of the tables in use."""
    return {name: each for name, each in failures(Path(directory)).items() if name in served}


def note(directory: Path, outcomes: Mapping[str, str], aside: Path) -> None:
    """Note why the compile of each table failed; an empty text: it did not. Written to the path `aside` first."""
    known = failures(directory)
    now = {name: each for name, each in known.items() if name not in outcomes}
    for name, reason in outcomes.items():
        if reason:
            now[name] = Failure(round(time.time(), 3), masked(reason)[:MAX_REASON_CHARACTERS])
    if not now:
        (directory / FILE).unlink(missing_ok=True)
    elif now != known:
        _write(aside, json.dumps(plain(now), indent=1).encode())
        aside.replace(directory / FILE)


def _read(path: Path) -> bytes:
    # The directory may be another user's, and opening a pipe would wait for as long as that user likes.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        return file.read(MAX_FILE_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""


def _write(path: Path, text: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
        # Whatever the umask: the metrics process reads it as the workers' user.
        os.fchmod(fd, 0o644)
        file.write(text)
