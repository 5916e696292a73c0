"""Writing to a peer that may be slow: what the socket takes now goes, the rest waits. Never blocks the master."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


def write_some(sock: socket.socket, unsent: bytearray) -> None:
    """Send from the front of `unsent` what a non-blocking socket takes. To one whose reader is gone nothing is left."""
    try:
        while unsent:
            del unsent[: sock.send(unsent)]
    except BlockingIOError:
        return
    except OSError:
        # Its end is read, and its death noticed, elsewhere.
        unsent.clear()
