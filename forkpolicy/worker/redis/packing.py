"""Commands as an engine takes them: arrays of strings, each with its length in front (RESP).

Most of a command is the same for all questions of an ACL, so that is packed once: the rest costs half of what
hiredis.pack_command takes for all of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import hiredis

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.state.redis.commands import Command

# Its stubs have a tuple of one element.
pack: Final[Callable[[tuple[bytes | str | int, ...]], bytes]] = hiredis.pack_command  # type: ignore[assignment]
ASKING: Final = pack((b"ASKING",))


def by_digest(command: Command) -> bytes:
    """The command as it is sent."""
    script, keys, arguments, shared = command
    values: list[int | bytes] = []
    for each in keys + arguments:
        values += (len(each), each)
    return _pattern(script.sha, len(keys), len(arguments), shared) % tuple(values)


@lru_cache(maxsize=4096)
def _pattern(sha: bytes, keys: int, arguments: int, shared: tuple[bytes, ...]) -> bytes:
    """What `by_digest` puts lengths and values into."""
    before = b"*%d\r\n" % (3 + keys + arguments + len(shared)) + _strings((b"EVALSHA", sha, b"%d" % keys))
    return _escaped(before) + b"$%d\r\n%b\r\n" * (keys + arguments) + _escaped(_strings(shared))


def _strings(values: tuple[bytes, ...]) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(value), value) for value in values])


def _escaped(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")


def by_source(command: Command) -> bytes:
    """The same with the script itself, for a server that does not know it: that then does."""
    script, keys, arguments, shared = command
    return pack((b"EVAL", script.source, len(keys), *keys, *arguments, *shared))
