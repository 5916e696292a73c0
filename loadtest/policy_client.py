"""The policy protocol from Postfix's side: one connection, strictly request and reply.

As in Postfix's attr_clnt.c, a connection that is readable before a request counts as lost: a server that writes
one byte too many fails here as it would fail there.
"""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class LostReplyError(Exception):
    """The server closed, answered too much, too late or not in the form of a reply."""


class PolicyClient:
    """One connection to a policy server. Use as a context manager."""

    def __init__(self, path: str | Path, timeout_s: float = 10.0) -> None:
        """Connect to the UNIX socket at `path`."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        self._socket.connect(str(path))

    def __enter__(self) -> Self:
        """Connected already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def ask(self, request: bytes) -> str:
        """The action for one request. Raises LostReplyError."""
        if select.select([self._socket], [], [], 0)[0]:
            raise LostReplyError("the connection was readable before the request")
        try:
            self._socket.sendall(request)
            return self._read_reply()
        except OSError as error:
            raise LostReplyError(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _read_reply(self) -> str:
        reply = b""
        while not reply.endswith(b"\n\n"):
            part = self._socket.recv(4096)
            if not part:
                raise LostReplyError(f"the server closed the connection after {reply!r}")
            reply += part
        if not reply.startswith(b"action=") or reply.count(b"\n") != 2:
            raise LostReplyError(f"not one reply: {reply!r}")
        return reply[7:-2].decode("utf-8", "surrogateescape")
