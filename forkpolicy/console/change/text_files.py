"""A text file that the console owns: read with its digest, replaced as a whole, put back without needing room.

The file is in a directory of the console's user, who may have been captured: links are not followed, nothing but a
regular file is read, and no more than MAX_BYTES. A new text is written aside, synced and renamed, so that a reader and
a crash find the one or the other. The previous file stays next to it under a name of its own, until the next change.

Raises CannotWriteError with what to do, UnreadableError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import CannotWriteError, ForkpolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# The server and the compile read it as another user.
_MODE: Final = 0o644
_TODO: Final = {
    errno.ENOSPC: "free room on that file system; nothing has changed",
    errno.EDQUOT: "its owner has no room left; nothing has changed",
    errno.EROFS: "its file system is read-only; nothing has changed",
    errno.EACCES: "the directory must belong to the console's user",
    errno.EPERM: "the directory must belong to the console's user",
    errno.ENOENT: "make the directory, with the console's user as its owner",
}


class UnreadableError(ForkpolicyError):
    """The file cannot be read, or is not a text that the console could have written."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a file has. `digest` names the version; a file that does not exist is an empty text."""

    text: str
    digest: str
    exists: bool = True


def digest_of(text: str) -> str:
    """The digest by which versions are compared."""
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read_text(path: Path, most: int = MAX_BYTES) -> Text:
    """What a file has now. `most`: the bytes that it may have."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return Text("", digest_of(""), exists=False)
    except OSError as error:
        what = "is a link, which is not followed" if error.errno == errno.ELOOP else f"cannot be read: {_why(error)}"
        raise UnreadableError(f"{path} {what}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise UnreadableError(f"{path} is not a regular file")
    with os.fdopen(fd, "rb") as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise UnreadableError(f"{path} has more than {most:,} bytes: edit it with another program")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UnreadableError(f"{path}:{line}: byte 0x{raw[error.start]:02x} is not UTF-8") from error
    return Text(text, digest_of(text))


def replace_text(path: Path, text: str) -> None:
    """Put a text in the place of what is there; what is there stays as `previous_of` for `put_back`."""
    with _written(path) as directory:
        _write_aside(directory, _aside(path), text.encode("utf-8"))
        previous = previous_of(path).name
        with contextlib.suppress(FileNotFoundError):
            os.unlink(previous, dir_fd=directory)
        # Of a file that root has put there another user makes no link (fs.protected_hardlinks): `put_back` writes anew.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            os.link(path.name, previous, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        os.rename(_aside(path), path.name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)


def put_back(path: Path, text: Text) -> None:
    """Put an earlier text there again: by the file of that time if it is still there, which needs no room."""
    with _written(path) as directory:
        if not text.exists:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path.name, dir_fd=directory)
        elif _has(previous_of(path), text):
            os.rename(previous_of(path).name, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            _write_aside(directory, _aside(path), text.text.encode("utf-8"))
            os.rename(_aside(path), path.name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)


def previous_of(path: Path) -> Path:
    """Where the file before the last change is. Its name matches no `*.conf`."""
    return path.with_name(f".{path.name}.previous")


def _aside(path: Path) -> str:
    return f".{path.name}.new"


def _has(path: Path, text: Text) -> bool:
    try:
        return read_text(path) == text
    except UnreadableError:
        return False


@contextlib.contextmanager
def _written(path: Path) -> Iterator[int]:
    """The directory of a file, to be changed."""
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _cannot(path, error) from error
    try:
        yield directory
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(_aside(path), dir_fd=directory)
        raise _cannot(path, error) from error
    finally:
        os.close(directory)


def _write_aside(directory: int, name: str, data: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        # Of a process that was killed: who writes holds the lock of all changes.
        os.unlink(name, dir_fd=directory)
    fd = os.open(name, _WRITE, 0o600, dir_fd=directory)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(fd, _MODE)
        os.fsync(fd)


def _cannot(path: Path, error: OSError) -> CannotWriteError:
    todo = _TODO.get(error.errno or 0, "")
    return CannotWriteError(f"{path} cannot be written: {_why(error)}{f': {todo}' if todo else ''}")


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
