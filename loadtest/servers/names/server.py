"""The name server: UDP and TCP on loopback, one thread, behaviours by name or by zone; it counts what it was asked.

    with NameServer({"2.0.0.127.list.example": listed()}, zones={"slow.example": late(3, listed())}) as server:
        server.address            # "127.0.0.1:40053"

A name has its own behaviour, else that of the longest zone it is in, else there is no such name. Nothing of it blocks:
late replies are sent by the same thread when their time has come.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
import socket
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from loadtest.servers.names.behaviours import nxdomain
from loadtest.servers.names.messages import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loadtest.servers.names.behaviours import Behaviour

    Send = Callable[[bytes], object]

LOOPBACK = "127.0.0.1"
# Of UDP: a burst of questions must not be lost here, it is not what is tested.
RECEIVE_BYTES = 4 << 20
TRIES = 50


class NameServer:
    """One name server. Use as a context manager. `behaviours` and `zones` may be changed while it runs."""

    def __init__(
        self,
        behaviours: Mapping[str, Behaviour] | None = None,
        *,
        zones: Mapping[str, Behaviour] | None = None,
        default: Behaviour | None = None,
        address: str = LOOPBACK,
        port: int = 0,
        tcp: bool = True,
    ) -> None:
        """`port` 0: a free one. Without `tcp`, connections are refused."""
        self.behaviours = dict(behaviours or {})
        self.zones = dict(zones or {})
        self.default = default or nxdomain()
        self.asked: Counter[tuple[str, str]] = Counter()
        self._udp, self._listener = _sockets(address, port, tcp=tcp)
        self.port: int = self._udp.getsockname()[1]
        self.address = f"{address}:{self.port}"
        self._later: list[tuple[float, int, Send, bytes]] = []
        self._order = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._udp, selectors.EVENT_READ, self._datagrams)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        if self._listener:
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        """Serve from now on."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and close everything."""
        self._wake.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # only sockets are registered
        self._selector.close()

    def behaviour_of(self, name: str) -> Behaviour:
        """What it does with a name."""
        if name in self.behaviours:
            return self.behaviours[name]
        labels = name.split(".")
        for start in range(len(labels)):
            found = self.zones.get(".".join(labels[start:]))
            if found:
                return found
        return self.default

    def _serve(self) -> None:
        while True:
            wait_s = max(0.0, self._later[0][0] - time.monotonic()) if self._later else None
            for key, _ in self._selector.select(wait_s):
                if key.data is None:
                    return
                key.data()
            while self._later and self._later[0][0] <= time.monotonic():
                _, _, send, message = heapq.heappop(self._later)
                _try(send, message)

    def _answer(self, message: bytes, send: Send, *, by_tcp: bool) -> None:
        question = parse(message, by_tcp=by_tcp)
        if question is None:
            return
        key = (question.name, question.rrtype)
        self.asked[key] += 1
        for delay_s, reply in self.behaviour_of(question.name)(replace(question, number=self.asked[key])):
            if delay_s:
                heapq.heappush(self._later, (time.monotonic() + delay_s, next(self._order), send, reply))
            else:
                _try(send, reply)

    def _datagrams(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):
                message, peer = self._udp.recvfrom(4096)
                self._answer(message, _to(self._udp, peer), by_tcp=False)

    def _accept(self) -> None:
        assert self._listener
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        received = bytearray()

        def readable() -> None:
            try:
                data = connection.recv(65536)
            except OSError:
                data = b""
            if not data:
                self._selector.unregister(connection)
                connection.close()
                return
            received.extend(data)
            while len(received) >= 2 and len(received) >= 2 + (length := int.from_bytes(received[:2], "big")):
                message = bytes(received[2 : 2 + length])
                del received[: 2 + length]
                self._answer(message, lambda reply: connection.sendall(_framed(reply)), by_tcp=True)

        self._selector.register(connection, selectors.EVENT_READ, readable)


def _to(sock: socket.socket, peer: object) -> Send:
    return lambda reply: sock.sendto(reply, peer)  # type: ignore[call-overload]  # as recvfrom gave it


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


def _try(send: Send, message: bytes) -> None:
    """Whoever asked may have gone, or does not read."""
    with contextlib.suppress(OSError):
        send(message)


def _sockets(address: str, port: int, *, tcp: bool) -> tuple[socket.socket, socket.socket | None]:
    """A UDP socket and, of the same number, a TCP socket that listens."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(TRIES):
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        udp.bind((address, port))
        udp.setblocking(False)
        if not tcp:
            return udp, None
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, udp.getsockname()[1]))
        except OSError:
            # Somebody else has that number for TCP.
            udp.close()
            listener.close()
            if port:
                raise
            continue
        listener.listen(128)
        return udp, listener
    raise OSError("no number is free for both UDP and TCP")
