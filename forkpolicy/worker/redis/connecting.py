"""How a worker gets a connection to a server of an engine: name, socket, TLS, password, database, scripts, and a PING.

This alone runs in a greenlet, and waits: it happens when a worker starts and after a failure. All of it has one time
limit. Raises StateError with the reason in words.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

import gevent
import hiredis
from gevent.socket import wait_read, wait_write
from gevent.threadpool import ThreadPool

from forkpolicy.errors import StateError
from forkpolicy.redis_urls import host_and_port
from forkpolicy.worker.redis.packing import pack
from forkpolicy.worker.redis.transport import TlsTransport, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from forkpolicy.state.redis.access import Access

T = TypeVar("T")

Address = tuple[str, int]
"""Host and port of a server; the path of a UNIX socket and 0."""
Words = tuple[bytes | str, ...]
# One resolver or sentinel that hangs must not stop another one. None of the loop's own threads: those check tables.
THREADS: Final = 2
IDLE_S: Final = 30


class Means:
    """What it takes to connect to any server of an engine. `scripts` are the sources of those that will be called."""

    def __init__(self, access: Access, scripts: Iterable[bytes]) -> None:
        self.access = access
        self.scripts = tuple(scripts)
        self._threads = ThreadPool(THREADS, idle_task_timeout=IDLE_S)

    def in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """What a function that blocks returns, or raises. Waits for it."""
        return self._threads.apply(function, arguments)


def shown(address: Address) -> str:
    """An address as messages name it."""
    host, port = address
    return host_and_port(host, port) if port else host


def connect(means: Means, address: Address) -> Transport:
    """A connection that has answered a PING, to a server that knows the scripts. Raises StateError."""
    timeout_s = means.access.timeout_s
    try:
        with gevent.Timeout(timeout_s):
            return _connected(means, address)
    except gevent.Timeout as error:
        raise StateError(f"{shown(address)} did not answer within {timeout_s:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise StateError(f"{shown(address)}: its certificate is not accepted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise StateError(f"{shown(address)}: TLS failed: {error.reason or error}") from error
    except EOFError as error:
        raise StateError(f"{shown(address)} closed the connection") from error
    except OSError as error:
        raise StateError(f"{shown(address)}: {_why(error)}") from error


def _connected(means: Means, address: Address) -> Transport:
    sock = _socket(means, address)
    try:
        transport = _transport(means, address, sock)
        for commands in _greeting(means.access, means.scripts):
            reply = _converse(transport, commands)[-1]
            if isinstance(reply, hiredis.ReplyError):
                # Never with the command, which may be the password.
                raise StateError(f"{shown(address)} refuses {commands[-1][0]!s}: {str(reply)[:200]}")  # noqa: TRY301
    except BaseException:
        sock.close()
        raise
    return transport


def _socket(means: Means, address: Address) -> socket.socket:
    """A connected, non-blocking socket; of several addresses of a name the first one that takes it."""
    host, port = address
    if not port:
        return _connected_socket(socket.AF_UNIX, host)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = means.in_thread(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
    failure: OSError = OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
    for family, *_, place in found:
        try:
            return _connected_socket(family, place)
        except OSError as error:
            failure = error
    raise failure


def _connected_socket(family: int, place: tuple[object, ...] | str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(place)
        # EAGAIN is of UNIX sockets alone: the server accepts too slowly, and nothing says when there is room.
        if code == errno.EINPROGRESS:
            wait_write(sock.fileno())
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))  # noqa: TRY301 - closed in one place
    except BaseException:
        sock.close()
        raise
    return sock


def _transport(means: Means, address: Address, sock: socket.socket) -> Transport:
    if not means.access.url.is_tls:
        return Transport(sock)
    context = means.in_thread(means.access.tls_context)
    assert context is not None
    transport = TlsTransport(sock, context, address[0])
    while not transport.handshake():
        _send(transport, b"")
        wait_read(sock.fileno())
        transport.receive()
    _send(transport, b"")
    return transport


def _greeting(access: Access, scripts: Iterable[bytes]) -> Iterator[list[Words]]:
    """What is said first: lists of commands of which the last one must succeed. RESP2 is spoken unless somebody asks
    for more.
    """
    password = access.password()
    if password:
        yield [("AUTH", access.user, password) if access.user else ("AUTH", password)]
    if access.url.db:
        yield [("SELECT", str(access.url.db))]
    # A script that was unknown would run behind the commands that follow it. Who may not load any sends them whole.
    yield [*[("SCRIPT", "LOAD", source) for source in scripts], ("PING",)]


def _converse(transport: Transport, commands: Sequence[Words]) -> list[object]:
    """The replies to some commands."""
    _send(transport, b"".join([pack(command) for command in commands]))
    reader = hiredis.Reader()
    replies: list[object] = []
    while len(replies) < len(commands):
        wait_read(transport.fileno())
        try:
            data = transport.read()
        except BlockingIOError:
            continue
        if not data:
            raise EOFError
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            replies.append(reply)
    return replies


def _send(transport: Transport, data: bytes) -> None:
    """Send all of it, and what is unsent already."""
    while True:
        with suppress(BlockingIOError):
            data = data[transport.write(data) :]
        if not data and not transport.unsent:
            return
        wait_write(transport.fileno())


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved: {error.strerror}"
    if error.errno == errno.EAGAIN:
        return "it accepts connections too slowly"
    return error.strerror or str(error)
