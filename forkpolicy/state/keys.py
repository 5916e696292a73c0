"""Keys of records: kind byte, NUL, name of the ACL or list, NUL, then each part with a NUL behind it, then a suffix.

Parts end in NUL, so the key of fewer parts is a prefix of those with more, and never of another name: `prefix` is what
`reset` and `walk` take. LMDB's keys have 511 bytes at most: a longer one keeps its kind and name and has a BLAKE2b-128
of its parts instead of them. Such a key cannot be shown in clear, and is found by all of its parts only.

The suffix has what else tells records apart, such as the windows of a rate limit; `show` gives it as it is.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_BYTES = 511
NUL = "\0"

RATE = b"r"
INSTANCE = b"i"
GREYLISTING = b"g"
NETWORK = b"n"
DISTINCT = b"d"
LISTED = b"l"

# The kind byte -> what commands and metrics call it.
KINDS = {
    RATE: "rate",
    INSTANCE: "instance",
    GREYLISTING: "greylisting",
    NETWORK: "network",
    DISTINCT: "distinct",
    LISTED: "listed",
}
# What a question of each kind may have written, its main records first.
KIND_BYTES = {
    "rate": (RATE, INSTANCE),
    "greylisting": (GREYLISTING, NETWORK),
    "distinct": (DISTINCT,),
    "listed": (LISTED,),
}

# In no UTF-8: a digest follows.
DIGEST_MARK = b"\xff"
# How a NUL of a value is written, as Java does: no other text has these bytes.
_NUL = b"\xc0\x80"
# Kind, name and parts in clear. What is left of LONGEST_BYTES is for a suffix and the digest of `with_suffix`.
_CLEAR_BYTES = 400
_SUFFIX_BYTES = 64
_NAME_CHARS = 60


class ShownKey(NamedTuple):
    """A key as people read it. `kind` is empty for a kind that this release does not know."""

    kind: str
    name: str
    parts: tuple[str, ...]
    suffix: str
    is_digest: bool


def make(kind: bytes, name: str, parts: Sequence[str], suffix: bytes = b"") -> bytes:
    """The key of a record. `suffix`: no NUL in it, 64 bytes at most."""
    text = f"\0{name}\0{NUL.join(parts)}\0" if parts else f"\0{name}\0"
    key = text.encode("utf-8", "surrogatepass")
    if len(key) > _CLEAR_BYTES or len(name) > _NAME_CHARS or key.count(0) != len(parts) + 2:
        key = _unusual(name, parts)
    return kind + key + suffix


def prefix(kind: bytes, name: str = "", parts: Sequence[str] = ()) -> bytes:
    """What all keys of a kind, of a name, or of a name and its first parts begin with."""
    return make(kind, name, parts) if name else kind + b"\0"


def with_suffix(key: bytes, suffix: str) -> bytes:
    """The key of a record that belongs to that of `key`. It has a digest in place of `suffix` where it is too long."""
    longer = key + b"\0" + _encode(suffix)
    return longer if len(longer) <= LONGEST_BYTES else key + b"\0" + _digest(longer)


def show(key: bytes) -> ShownKey:
    """A key in clear."""
    kind, _, rest = key.partition(b"\0")
    name, *parts = rest.split(b"\0")
    suffix = parts.pop() if parts else b""
    is_digest = any(part.startswith(DIGEST_MARK) for part in parts)
    return ShownKey(KINDS.get(kind, ""), _decode(name), tuple(map(_decode, parts)), _decode(suffix), is_digest)


def _unusual(name: str, parts: Sequence[str]) -> bytes:
    """A name and its parts with NULs in them, or too long."""
    named = _encode(name) if len(name) <= _NAME_CHARS else _digest(_encode(name))
    joined = b"".join(_encode(part) + b"\0" for part in parts)
    if len(named) + len(joined) + 2 > _CLEAR_BYTES:
        joined = _digest(joined) + b"\0"
    return b"\0%b\0%b" % (named, joined)


def _digest(data: bytes) -> bytes:
    return DIGEST_MARK + blake2b(data, digest_size=16).hexdigest().encode()


def _encode(text: str) -> bytes:
    # The bytes of a request that were not UTF-8 are lone surrogates in its text.
    return text.encode("utf-8", "surrogatepass").replace(b"\0", _NUL)


def _decode(data: bytes) -> str:
    mark, text = ("digest ", data[1:]) if data.startswith(DIGEST_MARK) else ("", data)
    return mark + text.replace(_NUL, b"\0").decode("utf-8", "surrogatepass")
