"""Accounts of iRedAPD: `user@domain`, `user@*`, an address, a network, `@domain`, `@.domain`, `@.`. Pure.

Raises ValueError for what is none of them.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

from forkpolicy.importing.sql.patterns import NAME

EMAIL: Final = "email"
EVERYWHERE: Final = "everywhere"
CLIENT: Final = "client"
DOMAIN: Final = "domain"
BELOW: Final = "below"
ANY: Final = "any"
NETWORK: Final = "network"
_WILDCARD: Final = re.compile(r"(\d{1,3}(?:\.\d{1,3}){0,2})((?:\.\*){1,3})", re.ASCII)
_LOCAL: Final = re.compile(r"[^\s@\"\\,]+")
_SHORTEST: Final = {4: 8, 6: 16}


class Account(NamedTuple):
    """`kind`: one of the above. `patterns`: of a column of a table; of `@.domain` both the domain and all below it."""

    kind: str
    patterns: tuple[str, ...]


def account_of(text: str) -> Account:
    """What an account means. Raises ValueError."""
    text = text.strip().lower()
    local, at, domain = text.rpartition("@")
    if text == "@.":
        return Account(ANY, ("*",))
    if at and not local and NAME.fullmatch(domain) and domain != "ip":
        return Account(DOMAIN, (domain,))
    if at and not local and domain.startswith(".") and NAME.fullmatch(domain[1:]):
        return Account(BELOW, (domain[1:], domain))
    if at and domain == "*" and _LOCAL.fullmatch(local):
        return Account(EVERYWHERE, (f"{local}@",))
    if at and NAME.fullmatch(domain) and _LOCAL.fullmatch(local) and text.isascii():
        return Account(EMAIL, (text,))
    return _of_client(text)


def _of_client(text: str) -> Account:
    if found := _WILDCARD.fullmatch(text):
        numbers = found[1].split(".")
        if len(numbers) + found[2].count("*") == 4:
            text = f"{'.'.join([*numbers, *'000'][:4])}/{8 * len(numbers)}"
            return Account(CLIENT, (str(ipaddress.ip_network(text)),))
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(
            "not an account: expected user@domain, @domain, @.domain, @., an address or a network"
        ) from None
    if network.prefixlen < _SHORTEST[network.version]:
        raise ValueError(f"a network of more than /{_SHORTEST[network.version]}")
    return Account(NETWORK if "/" in text else CLIENT, (str(network),))
