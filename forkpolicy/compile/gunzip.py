"""Decompress gzip in pieces, so that a few kilobytes never become gigabytes of memory.

Several members follow each other as one text, and zero bytes may follow the last, as gunzip(1) has it.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What every member begins with.
GZIP: Final = b"\x1f\x8b"


def gunzipped(chunks: Iterable[bytes], piece_bytes: int) -> Iterator[bytes]:
    """The text, in pieces of that size at most. Raises ValueError where it is damaged or was cut."""
    member = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            rest = chunk
            while rest := rest.lstrip(b"\0") if member.eof else rest:
                if member.eof:
                    member = zlib.decompressobj(wbits=31)
                yield member.decompress(rest, piece_bytes)
                rest = member.unconsumed_tail or member.unused_data
        while piece := member.decompress(b"", piece_bytes):
            yield piece
    except zlib.error as error:
        raise ValueError(f"what its server sends is damaged: {error}") from error
    if not member.eof:
        raise ValueError("what its server sends was cut: the end of gzip is missing")
