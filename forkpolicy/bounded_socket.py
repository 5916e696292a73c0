"""A socket for a library that reads an answer as long as its server sends: no more than so much, and no longer.

A time limit of a socket is for one wait, and a server that sends a byte now and then never comes to it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


class BoundedSocket:
    """Reads from another socket until `end_s` of the monotonic clock, and `max_bytes` of each answer."""

    def __init__(self, real: socket.socket | BoundedSocket, end_s: float, max_bytes: int) -> None:
        self._real = real
        self._begin_s, self._end_s = time.monotonic(), end_s
        self._max_bytes = self._left_bytes = max_bytes

    def begin_answer(self) -> None:
        """What comes from now on is another answer."""
        self._left_bytes = self._max_bytes

    def recv(self, size: int) -> bytes:
        """As of a socket. Raises OSError, at the bounds too."""
        if time.monotonic() > self._end_s:
            raise TimeoutError(f"the answers were not complete after {self._end_s - self._begin_s:.0f} s")
        data = self._real.recv(size)
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            raise OSError(f"an answer is larger than {self._max_bytes >> 20} MiB")
        return data

    def __getattr__(self, name: str) -> object:
        """All else is the socket's own."""
        return getattr(self._real, name)
