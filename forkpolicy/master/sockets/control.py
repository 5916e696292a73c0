"""The master's side of the control socket: what `forkpolicy status`, `reload`, `scale` and `stop` talk to. The
commands' side is ask.py.

One JSON object a line, each way: {"command": "status"} -> {"ok": true, ...}. For its owner and root alone: mode
0600, and the kernel is asked who connected (SO_PEERCRED, unix(7)), since a mode can be changed. A client that is
slow, mute or sends invalid messages delays no other: the one that has been silent longest makes room for
another.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from typing import TYPE_CHECKING

from forkpolicy.master.sockets.send_buffer import write_some

if TYPE_CHECKING:
    from forkpolicy.master.sockets.listener import Listener

MAX_COMMAND_BYTES = 4096
# The status of hundreds of workers with thousands of lines, some times over.
MAX_UNSENT_BYTES = 1 << 26
# More clients at once than any operator has terminals.
MAX_CLIENTS = 32
_CREDENTIALS = struct.Struct("3i")


class ControlClient:
    """One connected client, seen by the master. `waits`: it is owed an answer, or will always be there."""

    def __init__(self, sock: socket.socket, *, waits: bool = False) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.waits = waits
        self.unsent = bytearray()
        self._pending = bytearray()

    def fileno(self) -> int:
        """The connection's descriptor."""
        return self.sock.fileno()

    def commands(self) -> list[dict[str, object]] | None:
        """The commands that came; None when the client is gone or sent an invalid message."""
        try:
            data = self.sock.recv(MAX_COMMAND_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            return None
        self._pending += data
        if not data or len(self._pending) > MAX_COMMAND_BYTES:
            return None
        *lines, rest = bytes(self._pending).split(b"\n")
        self._pending[:] = rest
        try:
            commands = [json.loads(line) for line in lines]
        except ValueError:
            return None
        return commands if all(isinstance(command, dict) for command in commands) else None

    def reply(self, reply: object) -> None:
        """Queue an answer; `flush` writes what the client takes."""
        self.unsent += json.dumps(reply).encode() + b"\n"
        self.flush()
        if len(self.unsent) > MAX_UNSENT_BYTES:
            # It asks and asks, and reads nothing: the next read from it finds the end.
            self.unsent.clear()
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def flush(self) -> None:
        """Write what the client takes now."""
        write_some(self.sock, self.unsent)


def accept(listener: Listener) -> socket.socket | None:
    """The next client's connection, if it may; one that may not is closed at once. Raises OSError without a
    descriptor for it.
    """
    try:
        sock, _ = listener.sock.accept()
    except (BlockingIOError, ConnectionAbortedError):
        return None
    if peer_uid(sock) not in (0, os.geteuid()):
        sock.close()
        return None
    return sock


def refuse(sock: socket.socket) -> None:
    """Reply that no more commands can be taken, and close."""
    answer = {"ok": False, "refused": f"{MAX_CLIENTS} commands are under way: try again when one has ended"}
    # There is room in a new connection; a client that has gone does not read it.
    with contextlib.suppress(OSError), sock:
        sock.sendall(json.dumps(answer).encode() + b"\n")


def peer_uid(sock: socket.socket) -> int:
    """The user at the other end, as the kernel knows it: of the client, or of the process that listens."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(raw)[1]
    return uid
