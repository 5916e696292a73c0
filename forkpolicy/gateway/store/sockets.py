"""The sockets of the store: those that systemd passed, or made here. Never one on which a live process listens.

asyncio removes a socket file that it finds, live or not: two stores would each get a part of the mail. Raises
CannotWriteError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import CannotWriteError

if TYPE_CHECKING:
    from pathlib import Path

_BACKLOG: Final = 128
_BUSY: Final = "another process listens there: stop it first, as by `systemctl stop forkpolicy-store`"
_FIRST_FD: Final = 3


def passed_by_systemd() -> dict[str, socket.socket]:
    """Sockets by what each is bound to (sd_listen_fds(3)); none where they are another process's.

    Not by FileDescriptorName=: all sockets of a socket unit have the same one.
    """
    os.environ.pop("LISTEN_FDNAMES", None)
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "0")
    if pid != str(os.getpid()):
        return {}
    found = [socket.socket(fileno=_FIRST_FD + at) for at in range(int(count))]
    for each in found:
        each.set_inheritable(False)
    return {str(each.getsockname()): each for each in found}


def listening(path: Path, mode: int, group: int = -1) -> socket.socket:
    """A socket file in place of one that nobody listens on any more."""
    try:
        return _listening(path, mode, group)
    except OSError as error:
        why = _BUSY if error.errno == errno.EADDRINUSE else error.strerror
        raise CannotWriteError(f"{path}: {why}") from error


def _listening(path: Path, mode: int, group: int) -> socket.socket:
    if not path.parent.is_dir():
        raise CannotWriteError(f"{path.parent}: there is no such directory for the store's sockets: make it first")
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(ConnectionRefusedError):
            probe.connect(str(path))
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        path.unlink()
    sock = socket.socket(socket.AF_UNIX)
    # Nobody else for a moment, rather than everybody.
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(before)
    # Without chown(2) where it would change nothing: the unit's system call filter has none.
    if group >= 0 and path.stat().st_gid != group:
        os.chown(path, -1, group)
    path.chmod(mode)
    sock.listen(_BACKLOG)
    return sock
