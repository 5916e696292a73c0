"""The keys whose records a worker has changed, on their way to the state process: datagrams over one socket pair that
all workers share.

The master makes the pair before the first fork and never uses it: what one state process has not taken waits for the
next. Nothing blocks. What does not fit stays with the worker, which sends it later. A datagram is keys, each behind two
bytes of length; the reader trusts nothing in it, since a worker reads bytes of strangers.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final

from forkpolicy.state.keys import LONGEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

# Hundreds of keys each, and a few of them fit into the buffer of a socket (net.core.wmem_default is 208 KiB).
DATAGRAM_BYTES: Final = 1 << 15
BUFFER_BYTES: Final = 1 << 22
_LENGTH: Final = struct.Struct(">H")


def make_pair() -> tuple[socket.socket, socket.socket]:
    """The end of the state process, and that of the workers."""
    receiving, sending = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for sock in (receiving, sending):
        sock.setblocking(False)
    with contextlib.suppress(OSError):
        # As much as net.core.wmem_max allows.
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return receiving, sending


def send(sending: socket.socket, keys: set[bytes]) -> None:
    """Send keys, and take those that were sent out of the set. What there is no room for stays."""
    while keys:
        packed, sent = _packed(keys)
        try:
            sending.send(packed)
        except (BlockingIOError, OSError):
            return
        keys.difference_update(sent)


def _packed(keys: Iterable[bytes]) -> tuple[bytes, list[bytes]]:
    """A datagram, and what is in it."""
    parts: list[bytes] = []
    sent: list[bytes] = []
    size = 0
    for key in keys:
        size += _LENGTH.size + len(key)
        if size > DATAGRAM_BYTES and sent:
            break
        parts += (_LENGTH.pack(len(key)), key)
        sent.append(key)
    return b"".join(parts), sent


def receive(receiving: socket.socket) -> list[bytes] | None:
    """The keys of one datagram; None where there is none now."""
    try:
        packed = receiving.recv(DATAGRAM_BYTES + LONGEST_BYTES + _LENGTH.size)
    except BlockingIOError:
        return None
    keys = []
    at = 0
    while at + _LENGTH.size <= len(packed):
        (length,) = _LENGTH.unpack_from(packed, at)
        key = packed[at + _LENGTH.size : at + _LENGTH.size + length]
        at += _LENGTH.size + length
        if 0 < length <= LONGEST_BYTES and len(key) == length:
            keys.append(key)
    return keys
