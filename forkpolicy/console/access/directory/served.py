"""Whom the gateway serves, as its domains file says now: for whom a server is asked at all, and who looks after a
domain. Without a gateway everybody is served, and nobody looks after one.

For all threads. Raises ForkpolicyError where the files of the gateway cannot be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.tables.keys import fold_address, fold_domain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.console.held.room import Gateway
    from forkpolicy.gateway.domains import Domain


class Served:
    """The domains of a gateway, which are read again when their file has changed."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._of: tuple[Mapping[str, Domain], _Index] | None = None

    def serves(self, address: str) -> bool:
        """Whether mail for an address comes through the gateway."""
        return not self._gateway.is_on or address.rpartition("@")[2] in self._index().names

    def looked_after_by(self, address: str) -> frozenset[str]:
        """The domains in whose lines an address is one of `admins`."""
        return self._index().domains_of.get(address, frozenset()) if self._gateway.is_on else frozenset()

    def _index(self) -> _Index:
        domains = self._gateway.domains
        kept = self._of
        if kept is None or kept[0] is not domains:
            self._of = kept = (domains, _Index(domains))
        return kept[1]


class _Index:
    """`names` of domains, and the domains of each admin; all folded, as addresses are that are compared with them."""

    def __init__(self, domains: Mapping[str, Domain]) -> None:
        self.names = frozenset(map(fold_domain, domains))
        self.domains_of: dict[str, frozenset[str]] = {}
        for each in domains.values():
            for admin in map(fold_address, each.admins):
                self.domains_of[admin] = self.domains_of.get(admin, frozenset()) | {fold_domain(each.name)}
