"""How a worker gets a connection to a server of an engine: name, socket, TLS, password, database, and a PING.

This alone runs in a greenlet, and waits: it happens when a worker starts and after a failure. All of it has one time
limit. Raises StateError with the reason in words.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING

import gevent
import hiredis
from gevent.socket import wait_read, wait_write

from forkpolicy.errors import StateError
from forkpolicy.redis_urls import host_and_port
from forkpolicy.worker.redis.transport import TlsTransport, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkpolicy.state.redis.access import Access

Address = tuple[str, int]
"""Host and port of a server; the path of a UNIX socket and 0."""


def shown(address: Address) -> str:
    """An address as messages name it."""
    host, port = address
    return host_and_port(host, port) if port else host


def connect(access: Access, address: Address) -> Transport:
    """A connection that has answered a PING. Raises StateError."""
    try:
        with gevent.Timeout(access.timeout_s):
            return _connected(access, address)
    except gevent.Timeout as error:
        raise StateError(f"{shown(address)} did not answer within {access.timeout_s:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise StateError(f"{shown(address)}: its certificate is not accepted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise StateError(f"{shown(address)}: TLS failed: {error.reason or error}") from error
    except EOFError as error:
        raise StateError(f"{shown(address)} closed the connection") from error
    except OSError as error:
        raise StateError(f"{shown(address)}: {_why(error)}") from error


def _connected(access: Access, address: Address) -> Transport:
    sock = _socket(address)
    try:
        transport = _transport(access, address, sock)
        for command in _greeting(access):
            _converse(transport, command, address)
    except BaseException:
        sock.close()
        raise
    return transport


def _socket(address: Address) -> socket.socket:
    """A connected, non-blocking socket; of several addresses of a name the first one that takes it."""
    host, port = address
    if not port:
        return _connected_socket(socket.AF_UNIX, host)
    found = gevent.get_hub().threadpool.apply(socket.getaddrinfo, (host, port, 0, socket.SOCK_STREAM))
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
        if code in (errno.EINPROGRESS, errno.EAGAIN):
            wait_write(sock.fileno())
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))  # noqa: TRY301 - closed in one place
    except BaseException:
        sock.close()
        raise
    return sock


def _transport(access: Access, address: Address, sock: socket.socket) -> Transport:
    context = access.tls_context()
    if context is None:
        return Transport(sock)
    transport = TlsTransport(sock, context, address[0])
    while not transport.handshake():
        transport.flush()
        wait_read(sock.fileno())
        transport.receive()
    transport.flush()
    return transport


def _greeting(access: Access) -> Iterable[tuple[str, ...]]:
    """What is said first. RESP2 is spoken unless somebody asks for more."""
    password = access.password()
    if password:
        yield ("AUTH", access.user, password) if access.user else ("AUTH", password)
    if access.url.db:
        yield "SELECT", str(access.url.db)
    yield ("PING",)


def _converse(transport: Transport, command: tuple[str, ...], address: Address) -> None:
    """One command and its reply, which must not be an error."""
    transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stubs have tuples of one element
    reader = hiredis.Reader()
    while (reply := reader.gets()) is False:
        wait_read(transport.fileno())
        try:
            data = transport.read()
        except BlockingIOError:
            continue
        if not data:
            raise EOFError
        reader.feed(data)
    if isinstance(reply, hiredis.ReplyError):
        # Never with the command, which may be the password.
        raise StateError(f"{shown(address)} refuses {command[0]}: {str(reply)[:200]}")


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved: {error.strerror}"
    return error.strerror or str(error)
