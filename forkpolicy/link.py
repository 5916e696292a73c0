"""Messages in a stream of bytes: four bytes of length, then msgpack of the version, the message's name and its fields.

For the socket pair of master and worker, and the pipe of the child that loads. Its end is how each learns of the
other's death. Sans-I/O: bytes in, messages out. `Vocabulary` says which messages there are (messages.py).
"""

from __future__ import annotations

import struct
from typing import Generic, TypeVar

import msgpack

from forkpolicy.documents import InvalidDocumentError, parse, plain

# Of what follows the length: one more with each change. Both ends are of one release today, since one has forked the
# other; what is sent to another release has a version of its own (sockets/inherited.py, worker/handover.py, status.py).
VERSION = 1
# The name of a file need not be UTF-8.
NAMES = "surrogateescape"
_LENGTH = struct.Struct(">I")

Message = TypeVar("Message")


class InvalidMessageError(ValueError):
    """Bytes that are not a message of the vocabulary. The text names the message and the field."""


class Vocabulary(Generic[Message]):
    """What one end may send, by the names of the classes, and how much of it: bytes and elements of a message."""

    def __init__(self, *kinds: type[Message], max_bytes: int, max_elements: int) -> None:
        self.kinds = {kind.__name__: kind for kind in kinds}
        self.max_bytes, self.max_elements = max_bytes, max_elements

    def decode(self, packed: bytes) -> Message:
        """One message. Raises InvalidMessageError."""
        try:
            limits = {"max_array_len": self.max_elements, "max_map_len": self.max_elements}
            frame = msgpack.unpackb(packed, unicode_errors=NAMES, **limits)
        except (ValueError, msgpack.UnpackException) as error:
            raise InvalidMessageError(f"not msgpack: {error}") from error
        match frame:
            case [int(version), _, _] if version != VERSION:
                raise InvalidMessageError(f"version {version}, expected {VERSION}")
            case [int(), str(name), fields] if name in self.kinds:
                try:
                    return parse(self.kinds[name], fields)
                except InvalidDocumentError as error:
                    raise InvalidMessageError(f"{name}: {error}") from error
            case [int(), str(name), _]:
                raise InvalidMessageError(f"unknown message {name[:40]!r}")
        raise InvalidMessageError("expected a version, a name and fields")


def encode(message: object) -> bytes:
    """The bytes of one message."""
    packed: bytes = msgpack.packb([VERSION, type(message).__name__, plain(message)], unicode_errors=NAMES)
    return _LENGTH.pack(len(packed)) + packed


class Decoder(Generic[Message]):
    """Cuts a stream into messages of one vocabulary."""

    def __init__(self, vocabulary: Vocabulary[Message]) -> None:
        self._vocabulary = vocabulary
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now. Raises InvalidMessageError."""
        self._pending += data
        messages = []
        while len(self._pending) >= _LENGTH.size:
            length = _LENGTH.unpack_from(self._pending)[0]
            if length > self._vocabulary.max_bytes:
                raise InvalidMessageError(f"{length} bytes, expected {self._vocabulary.max_bytes} at most")
            end = _LENGTH.size + length
            if len(self._pending) < end:
                break
            messages.append(self._vocabulary.decode(bytes(self._pending[_LENGTH.size : end])))
            del self._pending[:end]
        return messages
