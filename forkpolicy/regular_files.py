"""Reading regular files and nothing else: opening a pipe, a device or a socket may wait for ever, or have effects.

`read_of_others` is for a file that another user writes, in a directory of that user, who may be an attacker. Such a
user can put a link there, a pipe, or another name of somebody else's file, at any moment. So each part of the path is
opened below the one before it; a link is followed only where root or this process's user owns it and its directory;
and the file must be the directory owner's, or a trusted user's under its only name. Raises OSError, and ValueError with
a reason that begins with "is".
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

MAX_BYTES_OF_OTHERS: Final = 256 << 10
KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFLNK: "a symbolic link",
}
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# As many as the kernel follows, path_resolution(7).
_MAX_LINKS: Final = 40
_WRITERS: Final = stat.S_IWGRP | stat.S_IWOTH


def read_regular(name: str) -> bytes:
    """The bytes of a file of the operator's."""
    # Before it is opened, since opening a device may have effects, and after, since it may be another by then.
    _refuse_irregular(os.stat(name))  # noqa: PTH116 - a text as it stands in the policy
    fd = os.open(name, _FLAGS)
    with os.fdopen(fd, "rb") as file:
        _refuse_irregular(os.fstat(fd))
        return file.read()


def read_of_others(path: str, most_bytes: int = MAX_BYTES_OF_OTHERS) -> bytes:
    """The bytes of a file that another user writes. Raises FileNotFoundError where it, or its directory, is missing."""
    head, name = os.path.split(path)
    directory = _open_directory(head or ".")
    try:
        return _read_below(directory, name, most_bytes)
    finally:
        os.close(directory)


def _open_directory(path: str) -> int:
    directory = os.open("/" if path.startswith("/") else ".", _DIRECTORY)
    try:
        parts, links = _parts(path), 0
        while parts:
            part = parts.pop(0)
            if stat.S_ISLNK(_status(part, directory).st_mode):
                links += 1
                target = _target(part, directory, links)
                parts[:0] = _parts(target)
                part = "/" if target.startswith("/") else "."
            below = os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = below
    except BaseException:
        os.close(directory)
        raise
    return directory


def _parts(path: str) -> list[str]:
    return [each for each in path.split("/") if each not in ("", ".")]


def _status(part: str, directory: int) -> os.stat_result:
    return os.stat(part, dir_fd=directory, follow_symlinks=False)


def _target(part: str, directory: int, links: int) -> str:
    """Where a link leads, if only trusted users could change it."""
    if links > _MAX_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    holder = os.fstat(directory)
    others_write = holder.st_mode & _WRITERS and not holder.st_mode & stat.S_ISVTX
    if others_write or not {holder.st_uid, _status(part, directory).st_uid} <= _trusted():
        raise ValueError(f"is below {part}, a symbolic link that others than root may change")
    return os.readlink(part, dir_fd=directory)


def _read_below(directory: int, name: str, most_bytes: int) -> bytes:
    _refuse_irregular(_status(name, directory))
    fd = os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=directory)
    with os.fdopen(fd, "rb") as file:
        status, holder = os.fstat(fd), os.fstat(directory)
        _refuse_irregular(status)
        if status.st_uid != holder.st_uid and not (status.st_uid in _trusted() and status.st_nlink == 1):
            raise ValueError(
                f"is a file of user {status.st_uid} in a directory of user {holder.st_uid}: they must be the same"
            )
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(f"is larger than {most_bytes >> 10} KiB")
    return data


def _trusted() -> set[int]:
    return {0, os.geteuid()}


def _refuse_irregular(status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise ValueError(f"is {KINDS.get(kind, 'of an unknown kind')}: only regular files are read")
