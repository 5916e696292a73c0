"""The clients' side of the control socket (master/sockets/control.py): one command to a running master, and its answer.

All of connecting, asking and answering has one time limit. Raises NotRunningError with what to look at, also for a
process that is not a master; ForkpolicyError for a master of another release.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, TypeVar

from forkpolicy.documents import InvalidDocumentError, parse
from forkpolicy.errors import ForkpolicyError, NotRunningError
from forkpolicy.status import STATUS_VERSION, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

Reply = TypeVar("Reply")
LOOK_AGAIN_S = 0.02
READ_BYTES = 1 << 16
# The status of hundreds of workers with thousands of lines, some times over.
MAX_ANSWER_BYTES = 1 << 26
_CREDENTIALS = struct.Struct("3i")
NOT_FOR_YOU = "the control socket is for its owner and root"
HUNG_UP = "the master closed the connection: it is ending, or others keep it busy; try again"


class _HungUpError(NotRunningError):
    """The master closed the connection without an answer."""


def ask(path: str, command: dict[str, object], timeout_s: float) -> dict[str, object]:
    """Send one command to a running master and return its answer. Raises NotRunningError with what to look at."""
    try:
        return _ask_once(path, command, timeout_s)
    except _HungUpError:
        if command["command"] != "status":
            raise
        # A master that is replaced hangs up on its clients, and the next one answers; what only asks may ask again.
        return _ask_once(path, command, timeout_s)


def ask_for(kind: type[Reply], path: str, command: dict[str, object], timeout_s: float) -> Reply:
    """The same, with a reply of that kind. Raises ForkpolicyError, too: the master does not know the command, or is of
    another release and replies otherwise.
    """
    reply = ask(path, command, timeout_s)
    if "error" in reply:
        raise ForkpolicyError(f"{path}: {reply['error']}")
    try:
        return parse(kind, reply, others=True)
    except InvalidDocumentError as error:
        raise ForkpolicyError(f"{path}: the reply of the master cannot be read: {error}") from error


def look(path: str, timeout_s: float) -> Status:
    """What the running master reports of itself. Raises NotRunningError, and ForkpolicyError for a master of a release
    that reports it otherwise: the program was replaced and the server was not.
    """
    reply = ask(path, {"command": "status"}, timeout_s)
    if reply.get("status_version") != STATUS_VERSION:
        raise _another_release(path, reply, "")
    try:
        return parse(Status, reply, others=True)
    except InvalidDocumentError as error:
        raise _another_release(path, reply, f" ({error})") from error


def _another_release(path: str, reply: dict[str, object], why: str) -> ForkpolicyError:
    release = f"{reply.get('version', 'an earlier one')}, master {reply.get('pid', 'unknown')}"
    hint = "an upgrade in place (signal USR2) or a restart puts this one in its place"
    return ForkpolicyError(
        f"{path}: another release is running ({release}), and this one cannot read its status{why}: {hint}"
    )


def _ask_once(path: str, command: dict[str, object], timeout_s: float) -> dict[str, object]:
    with _asked(path, command, timeout_s) as (_, answer):
        return answer


def wait_for_end(path: str, command: dict[str, object], timeout_s: float, end_timeout_s: float) -> bool:
    """Send a command that ends the master, which answers within `timeout_s`, and wait until it has ended; False: not
    within `end_timeout_s`. Raises NotRunningError, and ForkpolicyError where the master does not obey.
    """
    with _asked(path, command, timeout_s) as (sock, reply):
        if "error" in reply:
            raise ForkpolicyError(f"{path}: {reply['error']}")
        sock.settimeout(end_timeout_s)
        try:
            while sock.recv(READ_BYTES):
                pass
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True
    return True


@contextlib.contextmanager
def _asked(
    path: str, command: dict[str, object], timeout_s: float
) -> Iterator[tuple[socket.socket, dict[str, object]]]:
    """A connection on which the command was answered, all of it within `timeout_s`, and the answer."""
    until_s = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            _connect(sock, path, until_s)
            answer = _exchange(sock, path, command, until_s)
        except TimeoutError as error:
            hint = "it is busy, or was stopped by a signal: see its log"
            raise NotRunningError(f"{path}: the master does not answer within {timeout_s:g} s: {hint}") from error
        yield sock, answer


def _connect(sock: socket.socket, path: str, until_s: float) -> None:
    """Connect, and wait for room where the queue is full: connect(2) fails with EAGAIN then, and does not wait. Raises
    NotRunningError where no master listens, TimeoutError.
    """
    while True:
        try:
            sock.settimeout(_left_s(until_s))
            return sock.connect(path)
        except BlockingIOError:
            time.sleep(LOOK_AGAIN_S)
        except TimeoutError:
            raise
        except PermissionError as error:
            raise NotRunningError(f"{path}: {NOT_FOR_YOU}: try as root") from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise NotRunningError(f"{path}: no master is running there ({reason})") from error


def _left_s(until_s: float) -> float:
    """How long is left. Raises TimeoutError when nothing is."""
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _exchange(sock: socket.socket, path: str, command: dict[str, object], until_s: float) -> dict[str, object]:
    """One command and its answer. Raises NotRunningError when the master hangs up on us, TimeoutError."""
    line = bytearray()
    try:
        # It may have answered, and closed, before it was asked.
        with contextlib.suppress(ConnectionError):
            sock.sendall(json.dumps(command).encode() + b"\n")
        while not line.endswith(b"\n") and len(line) < MAX_ANSWER_BYTES:
            sock.settimeout(_left_s(until_s))
            part = sock.recv(READ_BYTES)
            if not part:
                break
            line += part
    except ConnectionError:
        line.clear()
    if not line:
        if os.geteuid() in (0, peer_uid(sock)):
            raise _HungUpError(f"{path}: {HUNG_UP}")
        raise NotRunningError(f"{path}: {NOT_FOR_YOU}")
    answer = _parse_answer(line, path)
    if "refused" in answer:
        raise NotRunningError(f"{path}: {answer['refused']}")
    return answer


def _parse_answer(line: bytearray, path: str) -> dict[str, object]:
    """An answer of a master. Raises NotRunningError for anything else: a captured worker can put a socket of its own in
    the place of its master's, where both have one user.
    """
    try:
        answer = _harmless(json.loads(line))
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise NotRunningError(
            f"{path}: the process that listens there is not a forkpolicy master: it says {bytes(line[:40])!r}"
        )
    return answer


def _harmless(value: object) -> object:
    """A value of an answer with its texts as a terminal may have them: names of files and requests, and a captured
    worker, send escape sequences too. Line ends stay: diagnostics have several lines.
    """
    if isinstance(value, str):
        return "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in value)
    if isinstance(value, list):
        return [_harmless(each) for each in value]
    if isinstance(value, dict):
        return {_harmless(key): _harmless(each) for key, each in value.items()}
    return value


def peer_uid(sock: socket.socket) -> int:
    """The user at the other end, as the kernel knows it: of the client, or of the process that listens."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(raw)[1]
    return uid
