"""The master's side of the control socket: what `forkpolicy status`, `reload`, `scale` and `stop` talk to. The
clients' side is control_client.py.

One JSON object a line, each way: {"command": "status"} -> {"ok": true, ...}. For its owner and root alone, and
less of it for members of `[server] control_group`: the mode says so, and the kernel is asked who connected
(SO_PEERCRED, unix(7)), since a mode can be changed. A client that is
slow, mute or sends invalid messages delays no other: the one that has been silent longest makes room for
another, a member of the group before others.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from typing import TYPE_CHECKING

from forkpolicy.control_client import MAX_ANSWER_BYTES, peer_uid
from forkpolicy.master.sockets.send_buffer import write_some

if TYPE_CHECKING:
    from forkpolicy.master.sockets.listener import Listener

MAX_COMMAND_BYTES = 4096
# More clients at once than any operator has terminals. Members of the group, who may be attackers, leave half of that
# to others.
MAX_CLIENTS = 32
MAX_MEMBERS = 16
# Linux 4.13 and newer; Python has no name for it, and takes no more than 1 KiB of an option.
_SO_PEERGROUPS = 59
_MAX_GROUPS = 256
_GID = struct.Struct("I")
_CREDENTIALS = struct.Struct("3i")


class ControlClient:
    """One connected client, seen by the master. `waits`: it is owed an answer, or will always be there. `is_of_group`:
    it is neither the socket's owner nor root, and may ask less.
    """

    def __init__(self, sock: socket.socket, *, waits: bool = False, is_of_group: bool = False) -> None:
        sock.setblocking(False)
        self.is_of_group = is_of_group
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
        if len(self.unsent) > MAX_ANSWER_BYTES:
            # It asks and asks, and reads nothing: the next read from it finds the end.
            self.unsent.clear()
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def flush(self) -> None:
        """Write what the client takes now."""
        write_some(self.sock, self.unsent)


def accept(listener: Listener) -> ControlClient | None:
    """The next client, if it may ask anything; one that may not is closed at once. Raises OSError without a descriptor
    for it.
    """
    try:
        sock, _ = listener.sock.accept()
    except (BlockingIOError, ConnectionAbortedError):
        return None
    if peer_uid(sock) in (0, os.geteuid()):
        return ControlClient(sock)
    if listener.group is not None and listener.group in _peer_groups(sock):
        return ControlClient(sock, is_of_group=True)
    sock.close()
    return None


def _peer_groups(sock: socket.socket) -> set[int]:
    """Every group of the process at the other end when it connected: SO_PEERCRED has the first one alone."""
    _, _, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUPS * _GID.size)
    except OSError:
        return {gid}
    return {gid, *(each for (each,) in _GID.iter_unpack(raw))}


def refuse(client: ControlClient) -> None:
    """Reply that no more commands can be taken, and close."""
    most = MAX_MEMBERS if client.is_of_group else MAX_CLIENTS
    answer = {"ok": False, "refused": f"{most} commands are under way: try again when one has ended"}
    # There is room in a new connection; a client that has gone does not read it.
    with contextlib.suppress(OSError), client.sock as sock:
        sock.sendall(json.dumps(answer).encode() + b"\n")
