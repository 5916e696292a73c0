"""What the right verdict is, found out in another way than forkpolicy's: no line of the product is used here.

Sets, and the standard library's `ipaddress`: slow, obvious, and wrong in other places if at all.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadtest.traffic.mail import Transaction


class Oracle:
    """Knows a site's networks and domains, and says who must be refused."""

    def __init__(self, networks: Iterable[str], domains: Iterable[str]) -> None:
        """Networks as `a/len`; domains exact, or `.name` for everything below."""
        self._networks = {ipaddress.ip_network(network) for network in networks}
        self._lengths = sorted({(network.version, network.prefixlen) for network in self._networks})
        names = {domain.lower() for domain in domains}
        self._exact = {name for name in names if not name.startswith(".")}
        self._parents = {name[1:] for name in names if name.startswith(".")}
        # A day has far fewer different clients and domains than mails.
        self.is_inside = functools.lru_cache(65536)(self._is_inside)
        self.is_ours = functools.lru_cache(65536)(self._is_ours)

    def refuses(self, mail: Transaction, recipient: str) -> bool:
        """From us to us, from outside, not signed in."""
        return (
            not mail.signed_in
            and self.is_ours(domain_of(mail.sender))
            and self.is_ours(domain_of(recipient))
            and not self.is_inside(mail.client)
        )

    def _is_inside(self, client: str) -> bool:
        address = ipaddress.ip_address(client)
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        return any(
            ipaddress.ip_network((address, length), strict=False) in self._networks
            for version, length in self._lengths
            if version == address.version
        )

    def _is_ours(self, domain: str) -> bool:
        if domain in self._exact:
            return True
        labels = domain.split(".")
        return any(".".join(labels[start:]) in self._parents for start in range(1, len(labels)))


def domain_of(address: str) -> str:
    """The domain of an address as it stands between SMTP's angle brackets, quoted local parts and all."""
    return address.rpartition("@")[2].lower().rstrip(".") if "@" in address else ""
