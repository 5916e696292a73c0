"""Where the two maps of what is remembered are: their directories, their size, and what an operator should know.

The master makes the directories with its own rights; what is in them belongs to the workers' user alone, and only
state/ opens it. Raises CannotWriteError.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import CannotWriteError
from forkpolicy.sizes import size_bytes, size_text
from forkpolicy.state_settings import AUTO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.process import Identity
    from forkpolicy.state_settings import StateSettings

DATA_FILE: Final = "data.mdb"
AUTO_BYTES: Final = 256 << 20
MEMORY: Final = ("tmpfs", "ramfs")


def make_directories(state: StateSettings, identity: Identity | None) -> None:
    """Make those that are missing, for the workers' user."""
    _make("live", Path(state.live), identity)
    make_kept(state, identity)


def make_kept(state: StateSettings, identity: Identity | None) -> None:
    """Make the one on disk alone."""
    _make("kept", Path(state.kept), identity)


def _make(name: str, path: Path, identity: Identity | None) -> None:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
        if identity:
            _give(path, identity)
    except FileExistsError:
        return
    except OSError as error:
        raise CannotWriteError(f"[state] {name}: {path} cannot be made: {error.strerror}") from error


def _give(path: Path, identity: Identity) -> None:
    """Give a new directory away, and not what a user who may write above it has put in its place."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, identity.uid, identity.gid)
    finally:
        os.close(fd)


def map_bytes(state: StateSettings) -> int:
    """The size of the live map: with `auto` the one that it has, where it is there already."""
    if state.max_size != AUTO:
        return size_bytes(state.max_size)
    return _size_now(state) or min(AUTO_BYTES, _free_bytes(state) // 4)


def _size_now(state: StateSettings) -> int:
    """The size of the live map that is there; 0 where there is none."""
    try:
        return (Path(state.live) / DATA_FILE).stat().st_size
    except OSError:
        return 0


def _free_bytes(state: StateSettings) -> int:
    found = os.statvfs(existing(state.live))
    return found.f_bavail * found.f_frsize


def existing(path: str) -> Path:
    """The path, or the nearest directory above it that exists."""
    return next(each for each in (Path(path), *Path(path).parents) if os.access(each, os.F_OK))


def remarks(state: StateSettings) -> Iterator[tuple[str, str, str]]:
    """What may surprise about these places: the setting, the message, the hint."""
    kind = file_system(state.live)
    if kind and kind not in MEMORY:
        message = f"live: {state.live} is on {kind}, not on a tmpfs: questions may wait for its disk"
        hint = "mount a tmpfs there; a power loss costs the same, the last two seconds at most"
        yield "live", message, hint
    if file_system(state.kept) in MEMORY:
        message = f"kept: {state.kept} is on a tmpfs: a reboot forgets everything"
        yield "kept", message, "name a directory on a disk"
    size = map_bytes(state)
    missing = size - _size_now(state) - _free_bytes(state)
    if missing > 0:
        message = f"max_size: {state.live} has no room for {size_text(size)}: {missing} bytes are missing"
        yield "max_size", message, "the start will fail: give that file system more room, or lower max_size"


def file_system(path: str) -> str:
    """The kind of file system that a path is or will be on, such as `tmpfs`; empty where that is not known."""
    real = os.path.realpath(existing(path))
    best, kind = "", ""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        head, _, tail = line.partition(" - ")
        # Blanks in a mount point are octal escapes (proc(5)).
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), head.split()[4])
        inside = point in ("/", real) or real.startswith(f"{point}/")
        if inside and len(point) >= len(best):
            best, kind = point, tail.split()[0]
    return kind
