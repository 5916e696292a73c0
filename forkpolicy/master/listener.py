"""The listening sockets: probe, bind, hand over, remove; those of TCP are made by inet.py. Runs in the master only;
workers accept.

A socket file gets its mode and owner before it is reachable under its name, and replaces a stale one in one step; a
live one is left alone. Two starters at once cannot both win: the directory is locked meanwhile. At the end only a
file that is still ours is removed. Raises ConfigError for what the operator has to mend and CannotWriteError for
what the directory does not allow.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.addresses import MAX_PATH_BYTES, inet_name
from forkpolicy.errors import CannotWriteError, Complaint, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

# sd_listen_fds(3): descriptors that systemd passes begin here.
LISTEN_FDS_START = 3
PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Ownership:
    """Mode of a socket file, and its owner and group where they are to be changed (-1: left as they are)."""

    mode: int
    uid: int = -1
    gid: int = -1


@dataclass(slots=True)
class Listener:
    """One listening socket. `identity`: device and inode of the socket file that is ours to remove, if any."""

    endpoint: str
    sock: socket.socket
    identity: tuple[int, int] | None = None

    def refuse(self) -> None:
        """Let nobody connect any more; who waits in the queue can still be accepted. Of a TCP socket the kernel would
        throw the queue away, so there it is full of whoever comes until it is closed.
        """
        if self.sock.family == socket.AF_UNIX:
            self.sock.shutdown(socket.SHUT_RD)

    def close(self, *, remove: bool) -> None:
        """Close, and remove the socket file if it is still ours."""
        self.sock.close()
        path = self.endpoint.removeprefix("unix:")
        if remove and self.identity:
            with contextlib.suppress(OSError), _locked(os.path.dirname(path)):  # noqa: PTH120 - a plain text suffices
                if _identity(path) == self.identity:
                    os.unlink(path)  # noqa: PTH108 - as above


def open_unix(path: str, ownership: Ownership, backlog: int) -> Listener:
    """Listen on a UNIX socket. Raises ConfigError, CannotWriteError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _locked(str(Path(path).parent)):
            _refuse_live(path)
            identity = _bind(sock, path, ownership, backlog)
    except OSError as error:
        sock.close()
        raise CannotWriteError(f"{path}: cannot listen there: {error.strerror or error}") from error
    except ConfigError:
        sock.close()
        raise
    sock.setblocking(False)
    return Listener(f"unix:{path}", sock, identity)


def take(passed: list[Listener], endpoint: str) -> Listener | None:
    """The passed listener of that endpoint, no longer among those that are left."""
    for each in passed:
        if each.endpoint == endpoint:
            passed.remove(each)
            return each
    return None


def is_activated() -> bool:
    """Whether systemd has passed sockets that `inherited` will take."""
    return os.environ.get("LISTEN_PID") == str(os.getpid())


def inherited() -> list[Listener]:
    """The listening sockets that systemd passed (sd_listen_fds(3)); taken once, not for our children."""
    if not is_activated():
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    return [adopt(fd) for fd in range(LISTEN_FDS_START, LISTEN_FDS_START + count)]


def adopt(fd: int, identity: tuple[int, int] | None = None) -> Listener:
    """A listener out of a descriptor that somebody else bound. Raises ConfigError when it is no listening socket."""
    os.set_inheritable(fd, False)
    try:
        sock = socket.socket(fileno=fd)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise wrong(f"descriptor {fd}", f"was passed for listening and is no socket: {error.strerror}") from error
    if not listening:
        raise wrong(f"descriptor {fd}", "was passed for listening and does not listen")
    sock.setblocking(False)
    name = sock.getsockname()
    endpoint = f"unix:{name}" if sock.family == socket.AF_UNIX else inet_name(name)
    return Listener(endpoint, sock, identity)


def _refuse_live(path: str) -> None:
    if not Path(path).is_socket():
        if Path(path).exists():
            raise wrong(path, "is there and is no socket: move it away, or choose another path")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return  # nobody listens: a file left over by one who was killed
        except (TimeoutError, BlockingIOError):
            pass  # its queue is full: somebody lives there
    raise wrong(path, "another server listens there: stop it first (forkpolicy stop), or choose another path")


def _bind(sock: socket.socket, path: str, ownership: Ownership, backlog: int) -> tuple[int, int]:
    """Bind under a name of our own, then move it to its place: never reachable with a wrong mode, never missing, and
    never refusing: who finds it so takes it for left over.
    """
    own = f"{Path(path).parent}/.fp{os.getpid()}"
    Path(own).unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        sock.bind(own if len(os.fsencode(own)) <= MAX_PATH_BYTES else path)
    finally:
        os.umask(before)
    bound = str(sock.getsockname())
    try:
        # While it is still ours: to change the mode of somebody else's file takes one capability more.
        Path(bound).chmod(ownership.mode)
        if (ownership.uid, ownership.gid) != (-1, -1):
            os.chown(bound, ownership.uid, ownership.gid)
        sock.listen(backlog)
        Path(bound).replace(path)
    except OSError:
        Path(bound).unlink(missing_ok=True)
        raise
    return _identity(path)


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - of the file itself, whatever it is now
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    fd = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def wrong(what: str, message: str) -> ConfigError:
    """A mistake of the operator's, and where it is."""
    return ConfigError([Complaint(what, 0, 0, message)])
