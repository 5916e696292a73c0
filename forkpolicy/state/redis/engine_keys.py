"""Keys of keys.py as an engine has them, and back: `PREFIX:KIND:{TAG}REST`.

The tag is what the keys of one script have in common, and the rest what only one of them has: the sender and the
recipient of a triplet, the instance of what a message has counted. All other keys are a tag alone.
"""

from __future__ import annotations

import re

from forkpolicy.state import keys


def embedded_key(engine_key: bytes, prefix: bytes) -> bytes | None:
    """The key as keys.py makes it; None for one that is not a record's. `prefix` ends in a colon."""
    kind, mark, rest = engine_key.removeprefix(prefix).partition(b":{")
    if not engine_key.startswith(prefix) or not mark or kind not in keys.KINDS:
        return None
    if kind == keys.GREYLISTING:
        end = rest.find(b"\0}", rest.find(b"\0") + 1) + 1
        tag, own = rest[:end], rest[end + 1 :]
        # A triplet that is too long has a digest instead of all its parts.
        rest = (tag if not own.startswith(keys.DIGEST_MARK) else tag[: tag.find(b"\0") + 1]) + own
    elif kind == keys.INSTANCE:
        end = rest.rfind(b"\0")
        rest = rest[: end - 1] + rest[end:]
    elif rest.endswith(b"}"):
        rest = rest[:-1]
    else:
        return None
    return kind + b"\0" + rest


def pattern(embedded_prefix: bytes, prefix: bytes) -> bytes:
    """What SCAN must match to find all keys that begin with `embedded_prefix`, which is empty or ends in a NUL; it may
    find others, too.
    """
    kind, _, rest = embedded_prefix.partition(b"\0")
    if not kind:
        return _escaped(prefix) + b"?:{*"
    if kind == keys.GREYLISTING:
        # Behind the network is a brace here. A digest says nothing of the network.
        parts = rest.split(b"\0", 2)
        common = 1 if len(parts) > 1 and parts[1].startswith(keys.DIGEST_MARK) else 2
        rest = b"".join(part + b"\0" for part in parts[:common]) if len(parts) > common else rest
    elif kind == keys.INSTANCE:
        # The brace is somewhere before its last part.
        rest = rest[: rest.rfind(b"\0", 0, -1) + 1]
    return _escaped(b"%b%b:{%b" % (prefix, kind, rest)) + b"*"


def _escaped(text: bytes) -> bytes:
    return re.sub(rb"([\\*?\[\]^-])", rb"\\\1", text)
