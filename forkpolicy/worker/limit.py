"""How many of a worker's connections each peer holds, so that one cannot keep the others out.

A peer is a process on a UNIX socket (SO_PEERCRED) and an address on the others. It may hold half of what a worker holds
at most: the other half is for all others, whatever it does. What it connects beyond that is closed before it has
asked anything; a connection that has asked is never closed for the sake of another.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from forkpolicy.worker.connection import Connection

SHARE_OF_ONE = 0.5
_CREDENTIALS = struct.Struct("3i")


class Peers:
    """The peers of a worker's connections."""

    def __init__(self) -> None:
        self._peer_of: dict[Connection, Hashable] = {}
        self._counts: Counter[Hashable] = Counter()

    def add(self, connection: Connection, sock: socket.socket) -> None:
        """Note a connection."""
        peer = peer_of(sock)
        self._peer_of[connection] = peer
        self._counts[peer] += 1

    def remove(self, connection: Connection) -> None:
        """Forget it."""
        peer = self._peer_of.pop(connection, None)
        if peer is not None:
            self._counts[peer] -= 1
            if not self._counts[peer]:
                del self._counts[peer]

    def has_its_share(self, peer: Hashable, max_connections: int) -> bool:
        """Whether it holds all that one peer may."""
        return self._counts[peer] >= max_connections * SHARE_OF_ONE


def peer_of(sock: socket.socket) -> Hashable:
    """A process by its id, or a machine by its address; one name for all that the kernel does not know."""
    try:
        if sock.family == socket.AF_UNIX:
            pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
            return f"process {pid} of user {uid}"
        return str(sock.getpeername()[0])
    except OSError:
        # It has gone already.
        return "unknown"
