"""The lines of postgrey's white lists: what each matches, as postgrey 1.37 reads them. Pure but for RE2.

A line is an expression, an address or network (clients alone), or a text that is compared literally. Names match with
everything below them. Raises CannotError, with the reason and the nearest line, for a line that never matches what
Postfix sends, or that we cannot match exactly.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.expressions import literal_value
from forkpolicy.importing.perl import perl_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.source import SourceFile

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_EXPRESSION: Final = re.compile(r"/(\S+)/")
_IPV4: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?", re.ASCII)
# Three numbers are a /24. So are two, whatever the comment in its source says: 192.0 is 192.0.0.0/24.
_IPV4_BEGINNING: Final = re.compile(r"\d{1,3}(?:\.\d{1,3}){1,2}", re.ASCII)
_IPV6: Final = re.compile(r".*:.*:.*")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
# Its library takes 192.0.2.1 for ::192.0.2.1 when it compares it with a network of IPv6.
_IPV4_IN_IPV6: Final = ipaddress.IPv6Network("::/96")
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")


class CannotError(Exception):
    """A line that is left out: the reason, and the nearest thing."""

    def __init__(self, reason: str, nearest: str = "") -> None:
        super().__init__(reason)
        self.reason, self.nearest = reason, nearest


class Line(NamedTuple):
    """A line without comment and blanks, and where it stood."""

    text: str
    origin: Origin


class Name(NamedTuple):
    """A name, with everything below it."""

    name: str


class Networks(NamedTuple):
    """Networks of clients; more than one where IPv4 is meant with IPv6."""

    networks: tuple[Network, ...]


class Expression(NamedTuple):
    """A value of ours: the expression that is searched for."""

    value: str


def lines_of(source: SourceFile) -> Iterator[Line]:
    """What stands in the lines; `#` begins a comment wherever it is."""
    for number, raw in enumerate(source.lines, 1):
        if text := raw.partition("#")[0].strip():
            yield Line(text, source.origin(number))


def client(text: str) -> Name | Networks | Expression:
    """What a line of a list of clients matches. Raises CannotError."""
    if found := _EXPRESSION.fullmatch(text):
        return _expression(found[1])
    if _IPV4.fullmatch(text):
        return Networks(_networks(text))
    if _IPV4_BEGINNING.fullmatch(text):
        return Networks(_networks(text + ".0" * (3 - text.count(".")) + "/24"))
    if _IPV6.fullmatch(text):
        return Networks(_networks(text))
    if any(char.isspace() for char in text):
        raise CannotError("blanks in a line: postgrey warns of it and passes it over", "one name or address a line")
    return Name(_name(text))


def recipient(text: str) -> Name | Expression:
    """What a line of a list of recipients matches. Raises CannotError."""
    if found := _EXPRESSION.fullmatch(text):
        return _expression(found[1])
    if any(char.isspace() for char in text):
        raise CannotError("blanks in a line: postgrey warns of it and passes it over", "one address a line")
    user, at, domain = text.partition("@")
    if not at:
        return Name(_name(text))
    if not user:
        raise CannotError("postgrey compares it with whole addresses, and none is so", f"the line {domain} is a domain")
    return Expression(_literally(user, domain))


def _expression(pattern: str) -> Expression:
    try:
        return Expression(perl_value(pattern))
    except ValueError as error:
        raise CannotError(f"the expression: {error}") from error


def _literally(user: str, domain: str) -> str:
    """`user` with any extension, at the domain or anywhere."""
    if not (user + domain).isascii():
        raise CannotError("it is not ASCII: postgrey compares bytes where ours compares characters")
    begin, end = literal_value(user, whole=False)[1:-1], literal_value(f"@{domain}", whole=False)[1:-1]
    return rf"/^{begin}(\+[^@]+)?{end}{'$' if domain else ''}/"


def _name(text: str) -> str:
    if _NAME.fullmatch(text):
        return text.lower()
    name = text.lstrip("*.").rstrip(".").lstrip("@")
    nearest = f"the line {name} is that name with everything below it" if _NAME.fullmatch(name) else ""
    raise CannotError("postgrey compares it literally, and no name that Postfix sends is so", nearest)


def _networks(text: str) -> tuple[Network, ...]:
    address = text.partition("/")[0]
    if re.search(r"(?:^|\.)0\d", address) and ":" not in address:
        raise CannotError("numbers with leading zeros, which postgrey reads as octal", "write them without")
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise CannotError("not an address: postgrey passes it over and says nothing") from None
    if isinstance(network, ipaddress.IPv4Network):
        return _with_twin(network)
    if network.subnet_of(_MAPPED):
        nearest = str(ipaddress.ip_network((network.network_address.packed[12:], network.prefixlen - 96)))
        raise CannotError("postgrey finds no client of IPv4 in it", f"the line {nearest} finds them")
    if _IPV4_IN_IPV6.subnet_of(network):
        return (network, ipaddress.IPv4Network("0.0.0.0/0"))
    if network.subnet_of(_IPV4_IN_IPV6) and int(network.network_address) > 0xFFFF:
        raise CannotError("postgrey finds clients of IPv4 in it too", "write its IPv4 networks")
    return (network,)


def _with_twin(network: ipaddress.IPv4Network) -> tuple[Network, ...]:
    """With ::1, where postgrey takes it for 0.0.0.1."""
    if int(network.network_address) == 0 and network.num_addresses > 1:
        return (network, ipaddress.IPv6Network("::1"))
    return (network,)
