"""`interfaces:`: the networks of this machine's own interfaces and its connected routes, as the kernel has them.

`interfaces:` takes all interfaces that are up, `interfaces:eth0,eth1` some. Link-local networks (fe80::/10,
169.254.0.0/16) are left out unless asked for: `interfaces:+link-local`, `interfaces:eth0,+link-local`. A bridge is
named in a warning, because everything behind it, containers and virtual machines, then counts as local. Default routes
are never networks of this machine, whatever they lead through, and neither is what is wider than tables take of one
entry: VPN clients make half-default routes (0.0.0.0/1, 128.0.0.0/1). One warning names these; of an address with such
a prefix length, the address itself is taken.

Only this file imports pyroute2.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from forkpolicy.errors import nearest
from forkpolicy.tables.keys import parse_network
from forkpolicy.tables.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

NetlinkMessage = Any  # pyroute2 has no types

LINK_LOCAL: Final = "+link-local"

# rtnetlink(7): the interface is up; a route of type unicast; scopes of a whole network that is on the link.
_IFF_UP: Final = 1
_RTN_UNICAST: Final = 1
_RT_TABLE_LOCAL: Final = 255
_LINK_LOCAL_NETWORKS: Final = (ipaddress.ip_network("fe80::/10"), ipaddress.ip_network("169.254.0.0/16"))
_BRIDGES: Final = ("bridge", "openvswitch")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class InterfacesSource:
    """The networks of some or all interfaces."""

    name: str
    wanted: tuple[str, ...]
    link_local: bool
    warnings: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[Row]:
        """Each network once. Raises ValueError, OSError."""
        found: dict[Network, str] = {}
        wide: dict[Network, str] = {}
        # Imported here: 0.2 s and 15 MB that no other table should pay.
        from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415

        try:
            with IPRoute() as kernel:
                links = self._links(list(kernel.get_links()))
                for network, index in (*_of_addresses(kernel.get_addr()), *_of_routes(kernel.get_routes())):
                    if index in links and (self.link_local or not _is_link_local(network)):
                        (wide if _is_wide(network) else found).setdefault(network, links[index])
        except NetlinkError as error:
            raise ValueError(f"the kernel does not list its interfaces: {error}") from error
        if wide:
            self.warnings.append(_left_out(wide))
        yield from (Row(_text(network)) for network in sorted(found, key=_order))

    def _links(self, links: list[NetlinkMessage]) -> dict[int, str]:
        """Index and name of the interfaces to look at."""
        names = {link.get_attr("IFLA_IFNAME"): link for link in links}
        for name in self.wanted:
            if name not in names:
                near = nearest(name, names)
                meant = f'did you mean "{near}"?' if near else f"there are {', '.join(names)}"
                raise ValueError(f'no interface "{name}"; {meant}')
        chosen = {}
        for name, link in names.items():
            if (self.wanted and name not in self.wanted) or not link["flags"] & _IFF_UP:
                continue
            chosen[link["index"]] = name
            if link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") in _BRIDGES and not self.wanted:
                self.warnings.append(
                    f"{name} is a bridge: every container and virtual machine behind it counts as local; "
                    "to leave it out, name the interfaces that are meant"
                )
        return chosen


def _of_addresses(addresses: Iterable[NetlinkMessage]) -> Iterator[tuple[Network, int]]:
    for each in addresses:
        address = each.get_attr("IFA_ADDRESS")
        local = each.get_attr("IFA_LOCAL")
        network = ipaddress.ip_network((address, each["prefixlen"]), strict=False)
        yield network, each["index"]
        if local and (local != address or _is_wide(network)):
            # Point to point: IFA_ADDRESS is the other end.
            yield ipaddress.ip_network(local), each["index"]
        elif _is_wide(network):
            yield ipaddress.ip_network(address), each["index"]


def _of_routes(routes: Iterable[NetlinkMessage]) -> Iterator[tuple[Network, int]]:
    for each in routes:
        destination = each.get_attr("RTA_DST")
        is_connected = not any(each.get_attr(name) for name in ("RTA_GATEWAY", "RTA_VIA", "RTA_MULTIPATH", "RTA_ENCAP"))
        if (
            destination
            and each["dst_len"]
            and is_connected
            and each["type"] == _RTN_UNICAST
            and each["table"] != _RT_TABLE_LOCAL
            and each["family"] in (socket.AF_INET, socket.AF_INET6)
        ):
            yield ipaddress.ip_network((destination, each["dst_len"]), strict=False), each.get_attr("RTA_OIF")


def _is_wide(network: Network) -> bool:
    """Whether a table refuses it; an interface has nothing else wrong."""
    try:
        parse_network(str(network))
    except ValueError:
        return True
    return False


def _left_out(wide: dict[Network, str]) -> str:
    named = ", ".join(f"{network} on {wide[network]}" for network in sorted(wide, key=_order))
    is_or_are = "is" if len(wide) == 1 else "are"
    return (
        f"{named} {is_or_are} wider than a table accepts from an interface, and left out: "
        "list the local clients behind it in a file next to this source"
    )


def _is_link_local(network: Network) -> bool:
    return any(network.version == each.version and network.subnet_of(each) for each in _LINK_LOCAL_NETWORKS)  # type: ignore[arg-type]


def _order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


def _text(network: Network) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def open_source(argument: str, _base: Path) -> InterfacesSource:
    """The source of `[NAME,...][,+link-local]`. Raises ValueError."""
    words = [word for word in argument.split(",") if word]
    for word in words:
        if word.startswith("+") and word != LINK_LOCAL:
            raise ValueError(f'"{word}" is not known here: expected names of interfaces, or {LINK_LOCAL}')
    names = tuple(word for word in words if word != LINK_LOCAL)
    return InterfacesSource(f"interfaces:{argument}", names, LINK_LOCAL in words)
