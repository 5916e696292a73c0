"""The secrets in the links of digests: what a link is about, until when it acts, and a code that only the store makes.

HMAC-SHA256 (RFC 2104) over the id of the copy, the second at which the link ends, and the recipient. Letters and digits
of one case alone (RFC 4648, base 32): mail programs end a link in front of a `-` at its end. The key is a file of the
store's directory, 0600; without it all links that were sent are unknown. Raises StoreError.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.gateway.store.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "link.key"
_KEY_BYTES: Final = 32
# Of the 32 bytes of the code; with the 10 in front of them 30, which base 32 writes without a sign at the end.
_CODE_BYTES: Final = 20
_CONTENT: Final = struct.Struct(">HII")
_TOKEN_CHARACTERS: Final = 48
_MOST_ID: Final = (1 << 48) - 1


class Link(NamedTuple):
    """What a token says of itself, which anybody could write: `check` it."""

    held: int
    until_s: int
    code: bytes


class LinkTokens:
    """Makes and checks them with the key of a directory, which is made where there is none."""

    def __init__(self, directory: Path) -> None:
        self._key = _key(directory / NAME)

    def make(self, held: int, recipient: str, until_s: float) -> str:
        """The token of a link to a copy."""
        content = _content(held, int(until_s))
        return base64.b32encode(content + self._code(content, recipient)).decode().lower()

    def is_ours(self, link: Link, recipient: str) -> bool:
        """Whether we made it, for the recipient of that copy."""
        return hmac.compare_digest(link.code, self._code(_content(link.held, link.until_s), recipient))

    def _code(self, content: bytes, recipient: str) -> bytes:
        return hmac.digest(self._key, content + recipient.encode("utf-8", "replace"), hashlib.sha256)[:_CODE_BYTES]


def read_token(token: str) -> Link | None:
    """What stands in a token; None: it cannot be one."""
    if len(token) != _TOKEN_CHARACTERS or not token.isascii():
        return None
    try:
        raw = base64.b32decode(token.upper())
    except binascii.Error:
        return None
    high, low, until_s = _CONTENT.unpack(raw[: _CONTENT.size])
    return Link(high << 32 | low, until_s, raw[_CONTENT.size :])


def _content(held: int, until_s: int) -> bytes:
    assert 0 <= held <= _MOST_ID
    return _CONTENT.pack(held >> 32, held & 0xFFFFFFFF, until_s)


def _key(path: Path) -> bytes:
    try:
        if not path.exists():
            _write(path)
        key = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    if len(key) != _KEY_BYTES:
        raise StoreError(f"{path}: expected a key of {_KEY_BYTES} bytes, found {len(key)}: restore it, or remove it")
    return key


def _write(path: Path) -> None:
    """Whole or not at all. One store uses a directory, so nobody else makes it meanwhile."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
