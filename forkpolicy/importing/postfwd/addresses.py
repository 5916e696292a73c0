"""`client_address`: networks of IPv4 as postfwd compares them, and what it makes of IPv6. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv6Network, ip_address, ip_network

from forkpolicy.importing.postfwd.cannot import CannotError

_V4 = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:/(\d{1,2}))?", re.ASCII)
AS_EXPRESSION = (
    "postfwd searches the text of an IPv6 client for an address of IPv4, any character in place of its dots; here"
    " only that address matches"
)
V6 = (
    "postfwd 1 and 2 search the text of an IPv6 client for this one, as version 3 does without NetAddr::IP; here it is"
    " a network or an address, as in version 3 with that module"
)
ALWAYS = "0.0.0.0/0"


def network(operator: str, text: str) -> tuple[str, str]:
    """The network as a value of ours, and what is to be known about it. Raises CannotError."""
    if operator not in ("=", "==", "!="):
        raise CannotError(f'the comparison "{operator}" of client_address is that of networks for IPv4 alone')
    if found := _V4.fullmatch(text):
        octets, length = [int(each) for each in found.groups()[:4]], int(found[5] or 32)
        if max(octets) > 255 or length > 32:
            raise CannotError(f"{text} is not a network: postfwd finds no IPv4 client in it")
        number = int.from_bytes(octets, "big") >> 32 - length << 32 - length
        value = ".".join(map(str, number.to_bytes(4, "big")))
        if length < 32:
            value += f"/{length}"
        return value, AS_EXPRESSION if operator == "=" and not found[5] else ""
    if ":" in text:
        return _v6(text), V6
    raise CannotError(f"{text} is not an address or a network: postfwd finds no IPv4 client in it")


def _v6(text: str) -> str:
    try:
        if "/" in text:
            return str(IPv6Network(ip_network(text, strict=False)))
        return str(ip_address(text))
    except ValueError as error:
        raise CannotError(f"{text}: {error}") from error
