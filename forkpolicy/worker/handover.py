"""Where workers pass connections to each other: socket pairs that all of them share.

A worker that retires, or has more than its share, gives a connection away: its descriptor, the rest of a reply that
the client has not read yet, the bytes of a request that has begun, and what it costs, as one message (SCM_RIGHTS,
unix(7)). Any sibling takes it. The kernel keeps what was not taken yet, open and in order, also while workers die
and start; the client notices nothing, since nothing is closed.

Two releases share the pairs while one replaces the other, so each message begins with HANDOVER_VERSION. A master does
not start on the sockets of one with another version (inherited.py); a worker that meets one nevertheless puts the
connection back unread.

There are two pairs: a connection that moves so that all have as many goes to a worker that has few, one that moves
because of its traffic to a worker that is idle. The master makes them before the first fork and never reads them; an
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
# The version, what the connection costs in millionths of a core, and how many bytes are of a reply go before those of
# the reply and of the unfinished request.
_HEAD = struct.Struct("=BQH")
# A longer unfinished request is finished first: a message must fit into the socket's buffer (net.core.wmem_default
# is 208 KiB). With the default max_request of 64 KiB there is never more: an unfinished one and one read. Postfix sends
# 1.5 kB.
MAX_PENDING_BYTES = 131072
# Above that of any reply, which is one SMTP reply line.
MAX_UNSENT_BYTES = 8192
_MAX_MESSAGE_BYTES = _HEAD.size + MAX_UNSENT_BYTES + MAX_PENDING_BYTES
# They are not taken fast enough; or our user has as many on their way as it may have descriptors (unix(7)).
_FULL = frozenset((errno.EAGAIN, errno.ETOOMANYREFS, errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM))

Pair = tuple[socket.socket, socket.socket]


class UnknownVersionError(Exception):
    """A message of another release, which was put back."""


@dataclass(frozen=True, slots=True)
class Handover:
    """A connection that was taken: the descriptor, what is left of its last reply, the bytes of its unfinished request,
    what it costs.
    """

    fd: int
    unsent: bytes
    pending: bytes
    load: int


class Receipt:
    """Whether what a worker has given away was taken. One end of a pipe goes along with each connection; the worker
    that takes the connection closes it, and when no process has that end any more, the other is at its end. So the
    kernel counts, also across masters and for messages that were put back.
    """

    def __init__(self) -> None:
        self._end, self.fd = os.pipe()

    def give_no_more(self) -> None:
        """Nothing will be given any more: what is on its way is all."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def outstanding(self) -> bool:
        """Whether something is on its way, after `give_no_more`."""
        return not select.select([self._end], [], [], 0)[0]

    def close(self) -> None:
        """Forget it."""
        self.give_no_more()
        os.close(self._end)


def make_handover_pairs() -> tuple[Pair, Pair]:
    """The pair for many and the pair for busy connections."""
    return make_pair(), make_pair()


def make_pair() -> Pair:
    """Two ends: the first is written to, the second is read. Whole messages, in order, to exactly one reader."""
    giving, taking = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    giving.setblocking(False)
    taking.setblocking(False)
    return giving, taking


class HandoverChannel:
    """One worker's access to a pair."""

    def __init__(self, giving: socket.socket, taking: socket.socket) -> None:
        self._giving = giving
        self._taking = taking

    def fileno(self) -> int:
        """What is readable while a connection waits to be taken."""
        return self._taking.fileno()

    @staticmethod
    def fits(unsent: bytes, pending: bytes) -> bool:
        """Whether a connection can be passed on that has so much in hand."""
        return len(pending) <= MAX_PENDING_BYTES and len(unsent) <= MAX_UNSENT_BYTES

    def give(self, fd: int, unsent: bytes, pending: bytes, receipt: Receipt, load: int = 0) -> bool:
        """Pass a connection that `fits` on: from here on the descriptor is only to be closed. False: no room now, go on
        serving it.
        """
        head = _HEAD.pack(HANDOVER_VERSION, load, len(unsent))
        try:
            socket.send_fds(self._giving, [head + unsent + pending], [fd, receipt.fd])
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        return True

    def take(self) -> Handover | None:
        """A connection that waits, None if there is none (a sibling was faster). Raises UnknownVersionError."""
        try:
            message, fds, _flags, _address = socket.recv_fds(self._taking, _MAX_MESSAGE_BYTES, 2)
        except BlockingIOError:
            return None
        if not fds:
            # Lost because we have no descriptor free, see `Worker` for how that is avoided.
            return None
        if message[0] != HANDOVER_VERSION:
            self._put_back(message, fds)
            raise UnknownVersionError(f"version {message[0]} of the handover, this release knows {HANDOVER_VERSION}")
        for receipt in fds[1:]:
            os.close(receipt)
        _version, load, unsent_bytes = _HEAD.unpack_from(message)
        body = message[_HEAD.size :]
        return Handover(fds[0], body[:unsent_bytes], body[unsent_bytes:], load)

    def _put_back(self, message: bytes, fds: list[int]) -> None:
        """For a worker of the release that sent it. There was room a moment ago; without any the client asks again."""
        with contextlib.suppress(OSError):
            socket.send_fds(self._giving, [message], fds)
        for fd in fds:
            os.close(fd)
