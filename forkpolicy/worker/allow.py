"""Which clients may connect to `inet:` sockets: the protocol has no password, so the address decides.

`::ffff:192.0.2.1` is `192.0.2.1`. Connections over UNIX sockets are admitted by the socket file's mode.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Allowed:
    """The networks of one generation of settings."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(text) for text in networks]

    def admits(self, sock: socket.socket) -> bool:
        """Whether the peer of a connection may ask."""
        if sock.family == socket.AF_UNIX:
            return True
        try:
            address = ipaddress.ip_address(sock.getpeername()[0].partition("%")[0])
        except OSError:
            return False  # it has gone already
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)
