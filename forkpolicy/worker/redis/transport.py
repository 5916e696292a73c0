"""Bytes to and from an engine, with TLS or without it. A socket that is non-blocking, and buffers of OpenSSL: so that a
callback of the loop never waits for a handshake or a record.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

READ_BYTES = 65536


class Transport:
    """A connected socket. `read` and `write` raise BlockingIOError where there is nothing to do now, and OSError."""

    __slots__ = ("sock",)

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.sock.fileno()

    def read(self) -> bytes:
        """What has come; empty: the end."""
        return self.sock.recv(READ_BYTES)

    def write(self, data: bytes) -> int:
        """Send what the socket takes of that; how much of it need not be passed again."""
        return self.sock.send(data)

    @property
    def unsent(self) -> bool:
        """Whether something that was taken has not been sent yet."""
        return False

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


class TlsTransport(Transport):
    """The same, encrypted. `handshake` is called until it returns True."""

    __slots__ = ("_incoming", "_out", "_outgoing", "_tls")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._out = b""

    def handshake(self) -> bool:
        """One step of it; True: done. Where not, more has to be read (`receive`). Raises ssl.SSLError."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def receive(self) -> None:
        """Take what the socket has. Raises EOFError at its end."""
        data = self.sock.recv(READ_BYTES)
        if not data:
            raise EOFError
        self._incoming.write(data)

    def flush(self) -> None:
        """Send what is encrypted, as far as the socket takes it."""
        self._out += self._outgoing.read()
        if self._out:
            # What was encrypted was taken, whatever the socket takes of it.
            with suppress(BlockingIOError):
                self._out = self._out[self.sock.send(self._out) :]

    def read(self) -> bytes:
        """What has come, decrypted."""
        try:
            self.receive()
        except EOFError:
            return b""
        data = bytearray()
        try:
            while more := self._tls.read(READ_BYTES):
                data += more
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # Its end. Whatever came before it is ours.
            return bytes(data)
        except ssl.SSLError:
            if not data:
                raise
        if not data:
            raise BlockingIOError
        return bytes(data)

    def write(self, data: bytes) -> int:
        """Encrypt all of it, and send what the socket takes: the rest is `unsent`."""
        taken = self._tls.write(data) if data else 0
        self.flush()
        return taken

    @property
    def unsent(self) -> bool:
        """Whether something encrypted waits for the socket."""
        return bool(self._out)
