"""Which tables of a directory failed to compile, when and why: forkpolicy-compile writes it for `status` and the
metrics, since it may run from a timer whose failures are not read. A table that compiles is removed from the list. And
how the last compile of each table went that was put in place, for the console.

Two JSON files next to the tables, each replaced as one under the directory's lock. Writing raises OSError; reading
returns nothing where there is no list that can be read.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from forkpolicy.documents import LEFT_OUT, InvalidDocumentError, parse, plain
from forkpolicy.secrets import masked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

FILE: Final = ".failures"
COMPILES: Final = ".compiles"
MAX_WARNINGS: Final = 10
# The first diagnostics are enough; the compile has printed all of them.
MAX_REASON_CHARACTERS: Final = 1000
MAX_FILE_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class Failure:
    """When a table's compile failed, in seconds since 1970, and why."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Compile:
    """A compile that was put in place: when, in seconds since 1970, how many entries the table has, and how many it had
    after the compile before that one (None: not known). `warnings`: the first MAX_WARNINGS of so many.
    """

    at: float
    entries: int
    before: int | None = field(default=None, metadata=LEFT_OUT)
    warnings: tuple[str, ...] = ()
    warning_count: int = 0


Failures = dict[str, Failure]
_Kind = TypeVar("_Kind", Failure, Compile)


def failures(directory: Path) -> Failures:
    """By the table's name; entries that are not valid are left out."""
    return _known(directory / FILE, Failure)


def compiles(directory: Path) -> dict[str, Compile]:
    """The last of each table that was put in place, likewise."""
    return _known(directory / COMPILES, Compile)


def _known(path: Path, kind: type[_Kind]) -> dict[str, _Kind]:
    found = None
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(_read(path))
    read = {}
    for name, each in found.items() if isinstance(found, dict) else ():
        with contextlib.suppress(InvalidDocumentError):
            read[name] = parse(kind, each, others=True)
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


def note_compiles(directory: Path, done: Mapping[str, tuple[int, Sequence[str]]], aside: Path) -> None:
    """Note compiles that were put in place: entries and warnings of each table. Written to the path `aside` first."""
    if not done:
        return
    known = compiles(directory)
    for name, (entries, warnings) in done.items():
        shown = tuple(masked(each)[:MAX_REASON_CHARACTERS] for each in warnings[:MAX_WARNINGS])
        before = known[name].entries if name in known else None
        known[name] = Compile(round(time.time(), 3), entries, before, shown, len(warnings))
    _write(aside, json.dumps(plain(known), indent=1).encode())
    aside.replace(directory / COMPILES)


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
