"""A worker's limit of connections, kept so that one peer cannot keep the others out.

Postfix closes what it does not use, so a worker at its limit has met somebody who does not: when one more connection
comes, the peer with the most gives up the one that it has not used for longest. A peer is a process on a UNIX socket
(SO_PEERCRED) and an address on the others. Who is below everybody else's share loses nothing.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from forkpolicy.worker.connection import Connection

_CREDENTIALS = struct.Struct("3i")


class Peers:
    """Who holds which connections."""

    def __init__(self) -> None:
        self._held: dict[Hashable, dict[Connection, None]] = {}
        self._peer_of: dict[Connection, Hashable] = {}

    def add(self, connection: Connection, sock: socket.socket) -> None:
        """Note a connection."""
        peer = peer_of(sock)
        self._peer_of[connection] = peer
        self._held.setdefault(peer, {})[connection] = None

    def remove(self, connection: Connection) -> None:
        """Forget it."""
        peer = self._peer_of.pop(connection, None)
        held = self._held.get(peer)
        if held is not None:
            held.pop(connection, None)
            if not held:
                del self._held[peer]

    def to_close(self) -> tuple[Connection, Hashable, int] | None:
        """Which connection has to go, whose it is and how many they have; None while nobody has an idle one."""
        for peer, held in sorted(self._held.items(), key=lambda each: -len(each[1])):
            idle = [connection for connection in held if connection.idle]
            if idle:
                return min(idle, key=lambda connection: connection.last_used_ns), peer, len(held)
        return None


def peer_of(sock: socket.socket) -> Hashable:
    """A process by its id, or a machine by its address; one name for everybody whom the kernel does not know."""
    try:
        if sock.family == socket.AF_UNIX:
            pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
            return f"process {pid} of user {uid}"
        return str(sock.getpeername()[0])
    except OSError:
        # It has gone already.
        return "unknown"
