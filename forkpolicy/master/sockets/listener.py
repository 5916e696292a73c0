"""The listening sockets: probe, bind, hand over, remove; those of TCP are made by inet.py. Runs in the master only;
workers accept.

A socket file gets its mode and owner before it is reachable under its name, and replaces a stale one in one step; a
live one is left alone. Two starters at once cannot both win: one has the lock (lock.py) meanwhile. At the end only a
file that is still ours is removed.

The directory may belong to another user, as Postfix's does, who can rename anything in it at any moment. So root
gives mode and owner to a file in a directory of its own there, which is held by its descriptor and which no other user
can enter: no name that another user could have changed is followed.

Raises ConfigError for what the operator must mend and CannotWriteError for what the directory does not allow.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.addresses import MAX_PATH_BYTES, inet_name
from forkpolicy.errors import CannotWriteError, ConfigError, Diagnostic, ForkpolicyError
from forkpolicy.lock import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

# sd_listen_fds(3): descriptors that systemd passes begin here.
LISTEN_FDS_START = 3
PROBE_TIMEOUT_S = 2.0
# Another starter holds the lock for as long as its probe takes.
LOCK_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Ownership:
    """Mode of a socket file, and its owner and group where they are to be changed (-1: left as they are)."""

    mode: int
    uid: int = -1
    gid: int = -1


@dataclass(slots=True)
class Listener:
    """One listening socket. `identity`: device and inode of the socket file that is ours to remove, if any. `group`: of
    the control socket, whose members may ask it some things.
    """

    endpoint: str
    sock: socket.socket
    identity: tuple[int, int] | None = None
    group: int | None = None

    def refuse(self) -> None:
        """Let no client connect any more; those in the queue can still be accepted. Of a TCP socket the kernel would
        throw the queue away, so that one is left to fill until it is closed.
        """
        if self.sock.family == socket.AF_UNIX:
            self.sock.shutdown(socket.SHUT_RD)

    def close(self, *, remove: bool) -> None:
        """Close, and remove the socket file if it is still ours. Does not wait: a process that has the lock is
        starting there, and replaces the file.
        """
        self.sock.close()
        path = Path(self.endpoint.removeprefix("unix:"))
        if remove and self.identity:
            with contextlib.suppress(OSError, CannotWriteError), _at(path, patience_s=0) as directory:
                if _identity(path.name, directory) == self.identity:
                    os.unlink(path.name, dir_fd=directory)


def open_unix(path: str, ownership: Ownership, backlog: int) -> Listener:
    """Listen on a UNIX socket. Raises ConfigError, CannotWriteError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _at(Path(path), LOCK_PATIENCE_S) as directory:
            _refuse_live(path)
            identity = _bind(sock, Path(path).name, directory, ownership, backlog)
    except OSError as error:
        sock.close()
        raise CannotWriteError(f"{path}: cannot listen there: {error.strerror or error}") from error
    except ForkpolicyError:
        sock.close()
        raise
    sock.setblocking(False)
    return Listener(f"unix:{path}", sock, identity)


def take(inherited: list[Listener], endpoint: str) -> Listener | None:
    """The inherited listener of that endpoint, which is removed from the list."""
    for each in inherited:
        if each.endpoint == endpoint:
            inherited.remove(each)
            return each
    return None


def is_activated() -> bool:
    """Whether systemd has passed sockets that `activated_sockets` will return."""
    return os.environ.get("LISTEN_PID") == str(os.getpid())


def activated_sockets() -> list[Listener]:
    """The listening sockets that systemd passed (sd_listen_fds(3)); taken once, not for our children."""
    if not is_activated():
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    return [adopt(fd) for fd in range(LISTEN_FDS_START, LISTEN_FDS_START + count)]


def adopt(fd: int, identity: tuple[int, int] | None = None) -> Listener:
    """A listener out of a descriptor that another process bound. Raises ConfigError if it is not a listening socket."""
    os.set_inheritable(fd, False)
    try:
        sock = socket.socket(fileno=fd)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise wrong(f"descriptor {fd}", f"was passed for listening and is not a socket: {error.strerror}") from error
    if not listening:
        raise wrong(f"descriptor {fd}", "was passed for listening and does not listen")
    sock.setblocking(False)
    name = sock.getsockname()
    endpoint = f"unix:{name}" if sock.family == socket.AF_UNIX else inet_name(name)
    return Listener(endpoint, sock, identity)


def _refuse_live(path: str) -> None:
    if not Path(path).is_socket():
        if Path(path).exists():
            raise wrong(path, "is there and is not a socket: move it away, or choose another path")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return  # no process listens: a file left over by one that was killed
        except (TimeoutError, BlockingIOError):
            pass  # its queue is full: a process listens there
    raise CannotWriteError(
        f"{path}: another server listens there: stop it first (forkpolicy stop), or choose another path"
    )


def _bind(sock: socket.socket, name: str, directory: int, ownership: Ownership, backlog: int) -> tuple[int, int]:
    """Bind in a directory of our own, then move the file to its place: never reachable with a wrong mode, never
    missing, and never refusing: a process that finds it so takes it for left over. Its device and inode.
    """
    with _own_directory(directory) as own:
        # By the descriptor (proc(5)): no name on the way that could be another one meanwhile, and always short enough.
        place = f"/proc/self/fd/{own}/"
        within = name if len(os.fsencode(place + name)) <= MAX_PATH_BYTES else "socket"
        sock.bind(place + within)
        try:
            # While it is still ours: to change the mode of another user's file takes one capability more.
            os.chmod(within, ownership.mode, dir_fd=own)
            if (ownership.uid, ownership.gid) != (-1, -1):
                os.chown(within, ownership.uid, ownership.gid, dir_fd=own, follow_symlinks=False)
            sock.listen(backlog)
            identity = _identity(within, own)
            os.replace(within, name, src_dir_fd=own, dst_dir_fd=directory)
        except OSError:
            os.unlink(within, dir_fd=own)
            raise
    return identity


@contextlib.contextmanager
def _own_directory(directory: int) -> Iterator[int]:
    """The descriptor of a directory within another, which is there meanwhile, and which we alone can enter."""
    name = f".fp{os.getpid()}-{secrets.token_hex(4)}"
    with contextlib.ExitStack() as after:
        after.callback(os.umask, os.umask(0o077))
        os.mkdir(name, 0o700, dir_fd=directory)
        after.callback(_remove_directory, name, directory)
        own = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        after.callback(os.close, own)
        found = os.fstat(own)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise OSError(errno.EPERM, f"another user has replaced {name}")
        yield own


def _remove_directory(name: str, directory: int) -> None:
    # Renamed by the owner of the directory around it, it is theirs to remove.
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=directory)


@contextlib.contextmanager
def _at(path: Path, patience_s: float) -> Iterator[int]:
    """The descriptor of a path's directory, and the lock of the path, meanwhile."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with locked(path.with_name(f".{path.name}.lock"), patience_s, directory=directory):
            yield directory
    finally:
        os.close(directory)


def _identity(name: str, directory: int) -> tuple[int, int]:
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return found.st_dev, found.st_ino


def wrong(what: str, message: str) -> ConfigError:
    """A mistake of the operator's, and where it is."""
    return ConfigError([Diagnostic(what, 0, 0, message)])
