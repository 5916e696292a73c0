"""One connection to a policy server that is asked: a request out, exactly one reply in, kept for the next one.

It is towards that server what Postfix is towards us: one question at a time, and whatever comes while nothing was asked
ends it, as does a reply that is not one. A question that was given up ends it, too, so that a late reply never answers
another request. Callbacks of the loop, no greenlet; nothing blocks and nothing raises.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING, Final, Protocol

from forkpolicy.errors import WorldError
from forkpolicy.world.service import MAX_REPLY_BYTES, reply_of

if TYPE_CHECKING:
    from forkpolicy.addresses import Address
    from forkpolicy.world.dns.loop import Handle, Loop

# What has become of a question.
CLOSED: Final = "closed"
MALFORMED: Final = "malformed"


class Owner(Protocol):
    """Who gets to know what has become of a question. Called from the loop."""

    def connect_failed(self, connection: ServiceConnection, why: str, /) -> None:
        """Nobody listens there. The connection is closed."""

    def replied(self, connection: ServiceConnection, reply: str, /) -> None:
        """The reply is here, and the connection free for the next question."""

    def failed(self, connection: ServiceConnection, result: str, why: str, /, *, is_stale: bool) -> None:
        """There will be no reply, and the connection is closed. `result`: one word for counters; `is_stale`: it was
        kept, and the server has closed it without a byte.
        """

    def dropped(self, connection: ServiceConnection, /) -> None:
        """It was closed while nothing was asked."""


class ServiceConnection:
    """From its first question on. `sock` is non-blocking and connecting, or connected already. `instance`: the message
    that it was last asked about.
    """

    def __init__(self, sock: socket.socket, loop: Loop, owner: Owner, raw: bytes) -> None:
        self._sock, self._loop, self._owner = sock, loop, owner
        self._unsent = raw
        self._received = b""
        self._is_connected = self._is_kept = False
        self.is_asked = True
        self.instance = b""
        self.born_s = self.used_s = time.monotonic()
        self._handle: Handle = loop.watch(sock.fileno(), read=False, write=True, ready=self._ready)

    @property
    def is_quiet(self) -> bool:
        """Whether the server has sent nothing unasked and has not closed."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def ask(self, raw: bytes, instance: bytes) -> None:
        """Ask the next question. Only while it is free and quiet."""
        self.is_asked, self._received, self._unsent, self.instance = True, b"", raw, instance
        try:
            sent = self._sock.send(raw)
        except BlockingIOError:
            sent = 0
        except OSError:
            # That it is closed is readable, too: heard from the loop.
            return
        self._unsent = raw[sent:]
        if self._unsent:
            self._watch(write=True)

    def close(self) -> None:
        """Whatever comes is not for us any more. Harmless when it is closed."""
        if self._sock.fileno() >= 0:
            self._handle.stop()
            self._sock.close()
        self.is_asked = False

    def _watch(self, *, write: bool) -> None:
        self._handle.stop()
        self._handle = self._loop.watch(self._sock.fileno(), read=True, write=write, ready=self._ready)

    def _ready(self, may_read: bool, may_write: bool) -> None:
        if not self._is_connected:
            self._connected()
        elif may_read:
            self._read()
        elif may_write:
            self._send_rest()

    def _connected(self) -> None:
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.close()
            self._owner.connect_failed(self, os.strerror(error))
            return
        self._is_connected = True
        self._send_rest()

    def _send_rest(self) -> None:
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            # As above; a reply that came before it counts.
            self._unsent = b""
        self._watch(write=bool(self._unsent))

    def _read(self) -> None:
        try:
            data = self._sock.recv(MAX_REPLY_BYTES + 1)
        except BlockingIOError:
            return
        except OSError as error:
            self._ended(f": {error.strerror}")
            return
        if not data:
            self._ended()
        elif not self.is_asked:
            self.close()
            self._owner.dropped(self)
        else:
            self._received += data
            self._read_reply()

    def _read_reply(self) -> None:
        try:
            reply = reply_of(self._received)
        except WorldError as error:
            self._refuse(str(error))
            return
        if self._unsent:
            self._refuse("replied before it had the whole request")
        elif reply is not None:
            self.is_asked, self._is_kept, self.used_s = False, True, time.monotonic()
            self._owner.replied(self, reply)

    def _refuse(self, why: str) -> None:
        self.close()
        self._owner.failed(self, MALFORMED, why, is_stale=False)

    def _ended(self, why: str = "") -> None:
        was_asked = self.is_asked
        self.close()
        if was_asked:
            middle = " in the middle of its reply" if self._received else ""
            words = f"closed the connection{middle}{why}"
            self._owner.failed(self, CLOSED, words, is_stale=self._is_kept and not self._received)
        else:
            self._owner.dropped(self)


def connecting(family: int, address: str | Address) -> socket.socket:
    """A non-blocking socket that is connected, or will be. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(address)
    except OSError as error:
        if error.errno != errno.EINPROGRESS:
            sock.close()
            raise
    return sock
