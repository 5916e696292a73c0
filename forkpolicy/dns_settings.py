"""`[dns]` of forkpolicy.toml: whom the policy asks about names, for how long, and how often it tests DNS lists. Opens
nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from forkpolicy.declared import setting, shown
from forkpolicy.durations import parse_duration
from forkpolicy.endpoints import port_mistake

LEAST_TEST_S: Final = 1
DNS_PORT: Final = 53
EXPECTED: Final = 'expected addresses such as "192.0.2.53", "127.0.0.1:5353" or "[::1]:5353"'
_IN_BRACKETS: Final = re.compile(r"\[([^\]]*:[^\]]*)\](?::(.*))?")


def server_mistake(text: str) -> str:
    """What is wrong with the address of a name server, with or without a port."""
    host, port = _address_and_port(text)
    try:
        ip_address(host)
    except ValueError:
        return f"{EXPECTED}, got {shown(text)}"
    return "" if port is None else port_mistake(port)


def endpoint_of(server: str) -> str:
    """A valid server as an `inet:` endpoint."""
    host, port = _address_and_port(server)
    return f"inet:[{host}]:{port or DNS_PORT}" if ":" in host else f"inet:{host}:{port or DNS_PORT}"


def server_address(server: str) -> str:
    """The address of a valid server alone."""
    return _address_and_port(server)[0]


def _address_and_port(text: str) -> tuple[str, str | None]:
    found = _IN_BRACKETS.fullmatch(text)
    if found:
        return found[1], found[2]
    host, _, port = text.partition(":")
    return (host, port) if text.count(":") == 1 else (text, None)


def _interval_mistake(text: str) -> str:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        return str(error)
    return "" if seconds >= LEAST_TEST_S else f"expected {LEAST_TEST_S}s or more"


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """The section."""

    servers: tuple[str, ...] = setting(
        [],
        "The name servers, each as `address` or `address:port`; empty: those of /etc/resolv.conf.",
        mistake=server_mistake,
    )
    timeout: float = setting(1.0, "Seconds of a try; there are two.", ge=0.1, le=30)
    test_every: str = setting(
        "1h",
        "How often each DNS list is tested, such as `30m`; the first time at the start.",
        mistake=_interval_mistake,
    )

    @property
    def test_every_s(self) -> int:
        """The same in seconds."""
        return parse_duration(self.test_every)
