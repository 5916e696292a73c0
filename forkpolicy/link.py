"""Messages between the master and one worker: msgpack behind four bytes of length, over a stream socket pair.

The pair is also how each learns of the other's death: it reads the end of the stream. Sans-I/O: bytes in, messages
out.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack

Message = dict[str, Any]
# A reload sends every file of the policy. What claims to be longer is no message.
MAX_MESSAGE_BYTES = 1 << 28
# The name of a file need not be UTF-8.
NAMES = "surrogateescape"
_LENGTH = struct.Struct(">I")


def encode(message: Message) -> bytes:
    """The bytes of one message."""
    packed: bytes = msgpack.packb(message, unicode_errors=NAMES)
    return _LENGTH.pack(len(packed)) + packed


class Decoder:
    """Cuts a stream into messages."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are whole now. Raises ValueError for what is none."""
        self._pending += data
        messages = []
        while len(self._pending) >= _LENGTH.size:
            length = _LENGTH.unpack_from(self._pending)[0]
            if length > MAX_MESSAGE_BYTES:
                raise ValueError(f"a message of {length} bytes")
            end = _LENGTH.size + length
            if len(self._pending) < end:
                break
            messages.append(msgpack.unpackb(bytes(self._pending[_LENGTH.size : end]), unicode_errors=NAMES))
            del self._pending[:end]
        return messages
