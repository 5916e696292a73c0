"""Endpoints, networks and modes as settings write them: which texts are valid, and which two are the same socket.

Each `..._mistake` returns in words what is wrong with one text, or an empty text. A number inside a text has the bounds
of what it counts: the kernel takes a port modulo 65536, and port 0 is any free one, which no client could know.
Opens nothing and resolves no name; raises nothing.
"""

from __future__ import annotations

import ipaddress
import os.path
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

HIGHEST_PORT: Final = 65535
# Write permission for anyone: connecting to a socket file needs it (unix(7)).
_ANY_WRITE: Final = 0o222
_INET: Final = re.compile(r"inet:(\[[^\[\]]*\]|[^:\[\]]+):([0-9]+)")
# Labels as host names have them; the resolver says whether there is such a host.
_HOST: Final = re.compile(r"(?!-)[\w-]{1,63}(\.[\w-]{1,63})*\.?")
# inet_aton(3) would take 127.1, 0x7f.1 and 2130706433, too.
_NUMERIC_HOST: Final = re.compile(r"(.*\.)?(0[xX][0-9A-Fa-f]*|[0-9]+)\.?")


def endpoint_mistake(text: str) -> str:
    """`unix:/path/of/socket`, `inet:host:port` or `inet:[address]:port`."""
    if text.startswith("unix:"):
        return unix_mistake(text)
    found = _INET.fullmatch(text)
    if not found:
        return f'expected "unix:/path/of/socket" or "inet:127.0.0.1:10040", got "{text}"'
    return host_mistake(found[1]) or port_mistake(found[2])


def unix_mistake(text: str) -> str:
    """`unix:/path/of/socket` alone."""
    return "" if re.fullmatch("unix:.+", text) else f'expected "unix:/path/of/socket", got "{text}"'


def network_mistake(text: str) -> str:
    """An address or a network that a peer can have."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        return f"expected an address or a network: {error}"
    if "%" in text:
        return f'expected an address or a network without a zone, got "{text}"'
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped and network.prefixlen >= 96:
        return f'write "{text}" as IPv4: {mapped}/{network.prefixlen - 96}'
    return ""


def address_mistake(text: str) -> str:
    """One address."""
    return f'expected an address, got "{text}"' if "/" in text else network_mistake(text)


def mode_mistake(text: str) -> str:
    """The mode of a socket file, in octal; one with which no process could connect is refused."""
    if not re.fullmatch("0?[0-7]{3}", text):
        return f'expected three octal digits such as "0660", got "{text}"'
    return (
        "" if int(text, 8) & _ANY_WRITE else f'with mode "{text}" no process may write to the socket: expected "0660"'
    )


def host_mistake(host: str) -> str:
    """The name or address of a host, brackets around an address of IPv6."""
    literal = host.strip("[]")
    if not host.startswith("[") and not _NUMERIC_HOST.fullmatch(host):
        return "" if _HOST.fullmatch(host) else f'expected an address or a host name, got "{host}"'
    try:
        address = ipaddress.ip_address(literal)
    except ValueError:
        return f'"{literal}" is not a valid address'
    if address.version == 4 and host.startswith("["):
        return f'brackets are for IPv6: write "{literal}"'
    return ""


def port_mistake(port: str) -> str:
    """A port in decimal digits."""
    # A number of thousands of digits is one that int() refuses to read.
    digits = port.lstrip("0")
    if len(digits) <= len(str(HIGHEST_PORT)) and 1 <= int(digits or "0") <= HIGHEST_PORT:
        return ""
    return f"expected a port from 1 to {HIGHEST_PORT}, got {port[:20]}{'...' * (len(port) > 20)}"


def clashes(endpoints: Sequence[str], base: Path) -> Iterator[tuple[int, int]]:
    """The indexes of every two endpoints that cannot both be listened on, the earlier first.

    `base`: the directory that relative paths are relative to. Two names of one host are found at the start alone.
    """
    for later, text in enumerate(endpoints):
        earlier = next((at for at in range(later) if is_same_socket(endpoints[at], text, base)), None)
        if earlier is not None:
            yield earlier, later


def is_same_socket(one: str, other: str, base: Path) -> bool:
    """Whether two endpoints cannot both be listened on. `base` as in `clashes`."""
    if one.startswith("unix:") != other.startswith("unix:"):
        return False
    if one.startswith("unix:"):
        return _real_path(one, base) == _real_path(other, base)
    (host, port), (other_host, other_port) = _host_and_port(one), _host_and_port(other)
    return port == other_port and (host == other_host or _one_is_every_address(host, other_host))


def _real_path(endpoint: str, base: Path) -> str:
    return os.path.realpath(base / endpoint.removeprefix("unix:"))


def _host_and_port(endpoint: str) -> tuple[object, int]:
    host, _, port = endpoint.removeprefix("inet:").rpartition(":")
    try:
        return ipaddress.ip_address(host.strip("[]")), int(port)
    except ValueError:
        return host.rstrip(".").lower(), int(port)


def _one_is_every_address(host: object, other: object) -> bool:
    """Whether the kernel refuses the second of them: 0.0.0.0 has the port of every IPv4 address; [::] is IPv6 alone."""
    addresses = [each for each in (host, other) if isinstance(each, ipaddress.IPv4Address | ipaddress.IPv6Address)]
    return (
        len(addresses) == 2
        and addresses[0].version == addresses[1].version
        and any(each.is_unspecified for each in addresses)
    )
