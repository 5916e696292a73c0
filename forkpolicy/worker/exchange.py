"""Where workers pass connections to each other: one socket pair that all of them share.

A worker that retires, or has more than its share, gives a connection away: its descriptor and the bytes of a
request that has begun, as one message (SCM_RIGHTS, unix(7)). Any sibling takes it. The kernel keeps what nobody has
taken yet, open and in order, also while workers die and start; the client notices nothing, since nobody closes
anything.

The master makes the pair before the first fork and never reads it; an upgrade in place passes it on, so that the
workers of before hand their connections to the ones that follow. Never blocks. Raises OSError where the kernel
refuses.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

# A message has to carry something beside the descriptor; the byte also says how to read the rest, should that ever
# change.
VERSION = b"1"


@dataclass(frozen=True, slots=True)
class Given:
    """A connection on its way: the descriptor and the bytes of its unfinished request."""

    fd: int
    pending: bytes


def make_exchange() -> tuple[socket.socket, socket.socket]:
    """The two ends: the first is written to, the second is read. Whole messages, in order, to exactly one reader."""
    giving, taking = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    giving.setblocking(False)
    taking.setblocking(False)
    return giving, taking


class Exchange:
    """One worker's access to the pair. `limit_bytes` is the longest unfinished request that may come along."""

    def __init__(self, giving: socket.socket, taking: socket.socket, limit_bytes: int) -> None:
        self._giving = giving
        self._taking = taking
        self._limit_bytes = limit_bytes + len(VERSION)

    def fileno(self) -> int:
        """What is readable while a connection waits to be taken."""
        return self._taking.fileno()

    def give(self, given: Given) -> bool:
        """Pass a connection on and close our descriptor; False: nobody takes them fast enough, keep it for now."""
        try:
            socket.send_fds(self._giving, [VERSION + given.pending], [given.fd])
        except BlockingIOError:
            return False
        socket.close(given.fd)
        return True

    def take(self) -> Given | None:
        """A connection that waits, None if there is none (or a sibling was faster)."""
        try:
            message, fds, _flags, _address = socket.recv_fds(self._taking, self._limit_bytes, 1)
        except BlockingIOError:
            return None
        if not fds:
            # The descriptor got lost because we have none free: the client sees its connection end, as it would
            # anyway.
            return None
        return Given(fds[0], message[len(VERSION) :])
