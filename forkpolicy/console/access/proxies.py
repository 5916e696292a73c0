"""Where the browser is, behind proxies that are trusted.

A proxy adds the address of its client at the right of X-Forwarded-For; whatever stands further left may have been
written by that client. So it is read from the right, and no further than to the first address that is no trusted proxy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.networks import Networks, address_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Some proxies write the port, too.
_WITH_PORT: Final = re.compile(r"\[([^\[\]]*)\](?::[0-9]+)?|([^:\[\]]+):[0-9]+")


class Proxies:
    """The `trusted_proxies` of [console]."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = Networks(trusted)

    def client(self, peer: str, headers: Mapping[str, str]) -> str:
        """The address of the browser, or of the last proxy where that does not say whose client it has."""
        client = peer
        for text in reversed(headers.get("x-forwarded-for", "").split(",")):
            found = address_of(_without_port(text.strip()))
            if found is None or not self._trusted.has(client):
                break
            client = str(found)
        return client

    def host(self, peer: str, headers: Mapping[str, str]) -> str:
        """The host that the browser asked for. A trusted proxy that asks for another one says so."""
        said = headers.get("x-forwarded-host", "").rpartition(",")[2].strip()
        return said if said and self._trusted.has(peer) else headers.get("host", "")


def _without_port(text: str) -> str:
    found = _WITH_PORT.fullmatch(text)
    return (found[1] or found[2]) if found else text
