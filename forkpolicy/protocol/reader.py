"""From a stream of bytes to whole requests. Sans-I/O: bytes in; a raw request, None (need more) or ProtocolError out.

The rest of a connection's bytes stays here between reads, so that two requests in one segment are two requests and a
request in a thousand segments is one.
"""

from __future__ import annotations

import re

from forkpolicy.protocol.request import ProtocolError

# Postfix sends 0.6 to 1.5 kB and sets no limit of its own (the check in attr_scan_plain.c is compiled out);
# addresses of 1,500 octets arrive. 64 KiB is forty times that and bounds a worker's memory by connections times 64
# KiB.
MAX_REQUEST_BYTES = 65536

# An empty line is a newline right after a newline, or after a newline and the CR of a hand-typed request.
_EMPTY_LINE = re.compile(rb"\n\r?\n").search
_EMPTY_FIRST_LINE = re.compile(rb"\r?\n").match


class RequestReader:
    """Cuts the stream at empty lines. `pending` is what belongs to a request that is not whole yet."""

    __slots__ = ("_limit_bytes", "_pending", "_searched")

    def __init__(self, limit_bytes: int = MAX_REQUEST_BYTES, pending: bytes = b"") -> None:
        self._pending = bytearray(pending)
        self._limit_bytes = limit_bytes
        self._searched = 0

    @property
    def pending(self) -> bytes:
        """The bytes of an unfinished request."""
        return bytes(self._pending)

    def __bool__(self) -> bool:
        """Whether a request has begun and is not whole."""
        return bool(self._pending)

    def feed(self, data: bytes) -> None:
        """Take what was read from the connection."""
        self._pending += data

    def next_request(self) -> bytes | None:
        """The next whole request with its closing empty line, or None. Raises ProtocolError for one that is too
        long.
        """
        end = self._end()
        if end is None:
            if len(self._pending) > self._limit_bytes:
                raise self._too_long()
            return None
        raw = bytes(self._pending[:end])
        if end > self._limit_bytes:
            raise self._too_long()
        del self._pending[:end]
        self._searched = 0
        return raw

    def _too_long(self) -> ProtocolError:
        message = f"a request of more than {self._limit_bytes} bytes (max_request)"
        return ProtocolError(message, bytes(self._pending[:80]))

    def _end(self) -> int | None:
        """Where the first empty line ends. Never looks at a byte twice, so one byte at a time stays linear."""
        if first := _EMPTY_FIRST_LINE(self._pending):
            return first.end()
        start = max(0, self._searched - 2)
        self._searched = len(self._pending)
        # One search for both: looking for each alone would read the whole rest for each of many requests in it.
        found = _EMPTY_LINE(self._pending, start)
        return found.end() if found else None
