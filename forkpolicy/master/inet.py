"""Listening on TCP: every address of a host name, those that another master has passed among them. Runs in the master
only. Raises ConfigError with the address that is in the way.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from forkpolicy.errors import ConfigError
from forkpolicy.master.listener import Listener, inet_name, take, wrong

if TYPE_CHECKING:
    from forkpolicy.master.listener import Address


def open_inet(endpoint: str, backlog: int, passed: list[Listener]) -> list[Listener]:
    """Listen on every address that `inet:host:port` has, as Postfix's master(8) does. Sockets among `passed` that do so
    already are taken from there. One address that cannot be listened on is a ConfigError: whoever is sent there by the
    resolver would find nobody.
    """
    opened: list[Listener] = []
    try:
        for family, address in _addresses(endpoint):
            opened.append(take(passed, inet_name(address)) or _listen_on(family, address, backlog, endpoint))
    except ConfigError:
        for each in opened:
            each.close(remove=False)
        raise
    return opened


def _addresses(endpoint: str) -> list[tuple[int, Address]]:
    """Family and address of every socket that an endpoint means, each once. Raises ConfigError."""
    host, _, port = endpoint.removeprefix("inet:").rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, OverflowError) as error:
        raise wrong(endpoint, f"cannot listen there: {_reason(error)}") from error
    every: list[tuple[int, Address]] = list(dict.fromkeys((each[0], each[4]) for each in found))
    # A name may have IPv6 addresses where the kernel knows no IPv6.
    return [each for each in every if _is_known(each[0])] or every


def _is_known(family: int) -> bool:
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def _listen_on(family: int, address: Address, backlog: int, endpoint: str) -> Listener:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # Otherwise [::] takes the port of 0.0.0.0 too, and whoever names both gets an error.
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
    except (OSError, OverflowError) as error:
        raise wrong(endpoint, _why_not(address, endpoint, error)) from error
    sock.setblocking(False)
    return Listener(inet_name(sock.getsockname()), sock)


def _why_not(address: Address, endpoint: str, error: Exception) -> str:
    if inet_name(address) == endpoint:
        return f"cannot listen there: {_reason(error)}"
    host = endpoint.removeprefix("inet:").rpartition(":")[0]
    return (
        f"cannot listen on {address[0]}, which is an address of {host}: {_reason(error)}; "
        "correct the name's addresses, or name those addresses that are meant"
    )


def _reason(error: Exception) -> str:
    # What Python itself finds wrong with an address has no errno.
    return getattr(error, "strerror", None) or str(error)
