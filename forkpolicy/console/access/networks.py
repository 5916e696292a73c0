"""Addresses of browsers, and the networks that they are in. A client that has no address, as of a socket file, is in a
network of its own name.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_NETWORK_BITS: Final = {4: 24, 6: 64}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(text: str) -> Address | None:
    """The address; an IPv4 one that is written as IPv6 is that IPv4 one. None: it is none."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def network_of(client: str) -> str:
    """What one person can usually change an address within: the /24, or the /64."""
    found = address_of(client)
    if found is None:
        return client
    return str(ipaddress.ip_network((found, _NETWORK_BITS[found.version]), strict=False))


class Networks:
    """Some networks, and names such as `unix`."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._names = frozenset(texts)
        self._networks = [ipaddress.ip_network(text, strict=False) for text in self._names if text != "unix"]

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._names)

    def has(self, client: str) -> bool:
        """Whether a client is in one of them."""
        found = address_of(client)
        return client in self._names if found is None else any(found in each for each in self._networks)
