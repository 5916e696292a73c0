"""Where workers pass connections to each other: socket pairs that all of them share.

A worker that retires, or has more than its share, gives a connection away: its descriptor, the bytes of a request
that has begun, and what it costs, as one message (SCM_RIGHTS, unix(7)). Any sibling takes it. The kernel keeps what
nobody has taken yet, open and in order, also while workers die and start; the client notices nothing, since nobody
closes anything.

Two releases share the pairs while one replaces the other, so each message begins with HANDOVER_VERSION. A master does
not start on the sockets of one with another version (passing.py); a worker that meets one nevertheless puts the
connection back unread.

There are two pairs: a connection that moves so that everybody has as many goes to whoever has few, one that moves
because of its traffic to whoever is idle. The master makes them before the first fork and never reads them; an
upgrade in place passes them on. Never blocks. Raises UnknownVersionError from `take` alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
from dataclasses import dataclass

# Of what a message means: one more with each change that a worker of the previous release would misread.
HANDOVER_VERSION = 1
# The version, and what the connection costs in millionths of a core, go before the bytes of its unfinished request.
_HEAD = struct.Struct("=BQ")
# A longer unfinished request is finished first: a message has to fit into the socket's buffer (net.core.wmem_default
# is 208 KiB), and Postfix sends 1.5 kB.
MAX_PENDING_BYTES = 32768
# Nobody takes them fast enough; or our user has as many on their way as it may have descriptors (unix(7)).
_FULL = frozenset((errno.EAGAIN, errno.ETOOMANYREFS, errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM))

Pair = tuple[socket.socket, socket.socket]


class UnknownVersionError(Exception):
    """A message of another release, which was put back."""


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
            socket.send_fds(self._giving, [_HEAD.pack(HANDOVER_VERSION, load) + pending], [fd])
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        return True

    def take(self) -> Given | None:
        """A connection that waits, None if there is none (a sibling was faster). Raises UnknownVersionError."""
        try:
            message, fds, _flags, _address = socket.recv_fds(self._taking, _HEAD.size + MAX_PENDING_BYTES, 1)
        except BlockingIOError:
            return None
        if not fds:
            # Lost because we have no descriptor free, see `Worker` for how that is avoided.
            return None
        if message[0] != HANDOVER_VERSION:
            self._put_back(message, fds)
            raise UnknownVersionError(f"version {message[0]} of the hand-over, this release knows {HANDOVER_VERSION}")
        return Given(fds[0], message[_HEAD.size :], _HEAD.unpack_from(message)[1])

    def _put_back(self, message: bytes, fds: list[int]) -> None:
        """For a worker of the release that sent it. There was room a moment ago; without any the client asks again."""
        with contextlib.suppress(OSError):
            socket.send_fds(self._giving, [message], fds)
        for fd in fds:
            os.close(fd)
