"""Listening on TCP: every address of a host name, those that another master has passed among them. Runs in the master
only. Raises ConfigError with the address that is in the way, and CannotWriteError where another process listens.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from forkpolicy.addresses import addresses, inet_name, why_no_listening
from forkpolicy.errors import CannotWriteError, ForkpolicyError
from forkpolicy.master.sockets.listener import Listener, take, wrong

if TYPE_CHECKING:
    from forkpolicy.addresses import Address


def open_inet(endpoint: str, backlog: int, inherited: list[Listener]) -> list[Listener]:
    """Listen on every address that `inet:host:port` has, as Postfix's master(8) does. Sockets among `inherited` that do
    so already are taken from there. One address that cannot be listened on is an error for all: a client that the
    resolver sends there would be refused.
    """
    opened: list[Listener] = []
    try:
        for family, address in _addresses(endpoint):
            opened.append(take(inherited, inet_name(address)) or _listen_on(family, address, backlog, endpoint))
    except ForkpolicyError:
        for each in opened:
            each.close(remove=False)
        raise
    return opened


def _addresses(endpoint: str) -> list[tuple[int, Address]]:
    try:
        return addresses(endpoint)
    except (OSError, OverflowError) as error:
        raise wrong(endpoint, why_no_listening(endpoint, None, error)) from error


def _listen_on(family: int, address: Address, backlog: int, endpoint: str) -> Listener:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # Otherwise [::] takes the port of 0.0.0.0 too, and naming both is an error.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
    except (OSError, OverflowError) as error:
        reason = why_no_listening(endpoint, address, error)
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise CannotWriteError(f"{endpoint}: {reason}") from error
        raise wrong(endpoint, reason) from error
    sock.setblocking(False)
    return Listener(inet_name(sock.getsockname()), sock)
