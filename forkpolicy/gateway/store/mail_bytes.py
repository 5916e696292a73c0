"""The bytes of a mail that leaves the store: piece by piece from its file, without the headers that a scanner wrote.

Only its headers are in memory as a whole: a mail of 64 MiB is sent on with some hundred kilobytes. Raises
UnreadableError.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PIECE_BYTES: Final = 1 << 17
_END_OF_HEADER: Final = re.compile(rb"(\r?\n)\r?\n")
# The longest end of headers, less a byte: it may stand across two pieces.
_ACROSS: Final = 3
# X-Spam, X-Spam-Status, X-Spamd-Result, X-Spamd-Bar ...: what the next server's filters would act on.
_SPAM_HEADER: Final = re.compile(
    rb"^X-Spamd?(?:-[!-9;-~]*)?[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", re.MULTILINE | re.IGNORECASE
)


class UnreadableError(Exception):
    """The disk does not give the file, in words."""


class MailBytes:
    """`size_bytes` of a file, which must stay open as long as it is used."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head, end = _head(file)
        self._head = _SPAM_HEADER.sub(b"", head[:end])
        self._rest_at = end
        self.size_bytes = len(self._head) + file.seek(0, os.SEEK_END) - end

    def pieces(self) -> Iterator[bytes]:
        """All of it, from the beginning."""
        if self._head:
            yield self._head
        self._file.seek(self._rest_at)
        while piece := _read(self._file):
            yield piece

    def is_ascii(self) -> bool:
        """Whether every byte is below 128."""
        return all(map(bytes.isascii, self.pieces()))


def _head(file: BinaryIO) -> tuple[bytes, int]:
    """The beginning of a file, and how much of it are headers: all of it where no empty line ends them."""
    file.seek(0)
    found = bytearray(_read(file))
    if found[:2] == b"\r\n" or found[:1] == b"\n":
        return b"", 0
    at = 0
    while not (end := _END_OF_HEADER.search(found, at)):
        at = max(0, len(found) - _ACROSS)
        piece = _read(file)
        if not piece:
            return bytes(found), len(found)
        found += piece
    return bytes(found), end.end(1)


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(PIECE_BYTES)
    except OSError as error:
        raise UnreadableError(f"its file cannot be read: {error.strerror}") from error


def dot_stuffed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """As SMTP sends it (RFC 5321 4.5.2), without the line with a dot alone; the last line has an end."""
    end = b"\r\n"
    for piece in pieces:
        stuffed = piece.replace(b"\n.", b"\n..")
        yield b"." + stuffed if end.endswith(b"\n") and piece.startswith(b".") else stuffed
        end = (end + piece)[-2:]
    if end != b"\r\n":
        yield b"\r\n"
