"""Where workers pass connections to each other: socket pairs that all of them share.

A worker that retires, or has more than its share, gives a connection away: its descriptor, the bytes of a request
that has begun, and what it costs, as one message (SCM_RIGHTS, unix(7)). Any sibling takes it. The kernel keeps what
nobody has taken yet, open and in order, also while workers die and start; the client notices nothing, since nobody
closes anything.

There are two pairs: a connection that moves so that everybody has as many goes to whoever has few, one that moves
because of its traffic to whoever is idle. The master makes them before the first fork and never reads them; an
upgrade in place passes them on. Never blocks.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from dataclasses import dataclass

# What a connection costs, in millionths of a core, goes before the bytes of its unfinished request.
_LOAD = struct.Struct("=Q")
# A longer unfinished request is finished first: a message has to fit into the socket's buffer (net.core.wmem_default
# is 208 KiB), and Postfix sends 1.5 kB.
MAX_PENDING_BYTES = 32768
# Nobody takes them fast enough; or our user has as many on their way as it may have descriptors (unix(7)).
_FULL = frozenset((errno.EAGAIN, errno.ETOOMANYREFS, errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM))

Pair = tuple[socket.socket, socket.socket]


@dataclass(frozen=True, slots=True)
class Given:
    """A connection that was taken: the descriptor, the bytes of its unfinished request, what it costs."""

    fd: int
    pending: bytes
    load: int


def make_exchange() -> tuple[Pair, Pair]:
    """The pair for many and the pair for busy connections."""
    return make_pair(), make_pair()


def make_pair() -> Pair:
    """Two ends: the first is written to, the second is read. Whole messages, in order, to exactly one reader."""
    giving, taking = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    giving.setblocking(False)
    taking.setblocking(False)
    return giving, taking


class Exchange:
    """One worker's access to a pair."""

    def __init__(self, giving: socket.socket, taking: socket.socket) -> None:
        self._giving = giving
        self._taking = taking
        self._waits = select.poll()
        self._waits.register(taking, select.POLLIN)

    def fileno(self) -> int:
        """What is readable while a connection waits to be taken."""
        return self._taking.fileno()

    @property
    def waiting(self) -> bool:
        """Whether a connection waits to be taken."""
        return bool(self._waits.poll(0))

    def give(self, fd: int, pending: bytes, load: int = 0) -> bool:
        """Pass a connection on: from here on the descriptor is only to be closed. False: not now, go on serving
        it.
        """
        if len(pending) > MAX_PENDING_BYTES:
            return False
        try:
            socket.send_fds(self._giving, [_LOAD.pack(load) + pending], [fd])
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        return True

    def take(self) -> Given | None:
        """A connection that waits, None if there is none (a sibling was faster)."""
        try:
            message, fds, _flags, _address = socket.recv_fds(self._taking, _LOAD.size + MAX_PENDING_BYTES, 1)
        except BlockingIOError:
            return None
        if not fds:
            # Lost because we have no descriptor free, see `Worker` for how that is avoided.
            return None
        return Given(fds[0], message[_LOAD.size :], _LOAD.unpack_from(message)[0])
