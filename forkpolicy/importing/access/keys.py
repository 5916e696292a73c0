"""Keys of access(5) as keys of our tables, so that the same requests find them. Pure.

Raises DeadKeyError for a key that Postfix never looks up, ValueError for one that no table of ours can say.
"""

from __future__ import annotations

import re
from socket import AF_INET6, inet_ntop, inet_pton
from typing import Final, NamedTuple

from forkpolicy.tables.keys import NULL_SENDER

_IPV4: Final = re.compile(r"(?:0|[1-9]\d{0,2})(?:\.(?:0|[1-9]\d{0,2})){0,3}", re.ASCII)
_IPV6_GROUP: Final = re.compile(r"[1-9a-f][0-9a-f]{0,3}")
# The beginning of an IPv6 address alone, `2001` or `fd00`: no top-level domain has a digit.
_IPV6_FIRST: Final = re.compile(r"(?=.*[0-9])[1-9a-f][0-9a-f]{3}")
UNKNOWN: Final = "unknown"


class DeadKeyError(ValueError):
    """Postfix never looks this key up."""


class KeyRules(NamedTuple):
    """How a Postfix looks up. `parents`: an entry of a domain is of all below it (parent_domain_matches_subdomains)."""

    parents: bool = True
    null_key: str = NULL_SENDER


def mail_keys(key: str, rules: KeyRules) -> tuple[str, ...]:
    """Of a map that is asked about mail addresses: keys of an `address` table."""
    if key == rules.null_key:
        return (NULL_SENDER,)
    if key == NULL_SENDER:
        raise DeadKeyError(f"the null sender is looked up as {rules.null_key}")
    if "@" not in key:
        return _domain_keys(key, rules)
    if key.startswith("@"):
        raise DeadKeyError(f"access(5) has no @domain: a domain is {key[1:]}")
    if key.endswith(".") or key.startswith("<"):
        raise DeadKeyError("addresses are looked up without brackets and without a dot at the end")
    return (key,)


def name_keys(key: str, rules: KeyRules) -> tuple[str, ...]:
    """Of a map that is asked about host names: keys of a `domain` table."""
    if "@" in key:
        raise DeadKeyError("a mail address, and a host is looked up")
    return (key,) if key == UNKNOWN else _domain_keys(key, rules)


def is_whole(key: str) -> bool:
    """Whether a HELO name is an address or a literal: such a key is compared whole."""
    return key.startswith("[") or _IPV4.fullmatch(key) is not None or ":" in key


def is_network(key: str) -> bool:
    """Whether the key of a map about clients is an address or the beginning of one."""
    is_number = re.fullmatch(r"[\d.]+", key, re.ASCII) or _IPV6_FIRST.fullmatch(key)
    return is_number is not None or not {*":/["}.isdisjoint(key)


def network_of(key: str) -> str:
    """The network that an address, or the beginning of one, stands for."""
    if "/" in key:
        raise DeadKeyError("a network with its length is found in a cidr: map only")
    if "[" in key or "]" in key:
        raise DeadKeyError("addresses of clients are looked up without brackets")
    return _ipv6_network(key) if ":" in key or _IPV6_FIRST.fullmatch(key) else _ipv4_network(key)


def _domain_keys(key: str, rules: KeyRules) -> tuple[str, ...]:
    if key.endswith("."):
        raise DeadKeyError("names are looked up without a dot at the end")
    if not rules.parents:
        return (key,)
    if key.startswith("."):
        raise DeadKeyError(f"with smtpd_access_maps in parent_domain_matches_subdomains, only {key[1:]} is looked up")
    return (key, f".{key}")


def _ipv4_network(key: str) -> str:
    octets = key.split(".")
    if not _IPV4.fullmatch(key) or any(int(octet) > 255 for octet in octets):
        raise DeadKeyError("neither an IPv4 address nor the beginning of one")
    if len(octets) == 4:
        return key
    return f"{'.'.join(octets + ['0'] * (4 - len(octets)))}/{8 * len(octets)}"


def _ipv6_network(key: str) -> str:
    try:
        canonical = inet_ntop(AF_INET6, inet_pton(AF_INET6, key))
    except (OSError, ValueError):
        groups = key.split(":")
        if len(groups) < 8 and all(map(_IPV6_GROUP.fullmatch, groups)):
            return f"{key}::/{16 * len(groups)}"
        raise ValueError("not a network: the beginning of an IPv6 address as it is written, with zeros in it") from None
    if canonical != key:
        raise DeadKeyError(f"Postfix looks this address up as {canonical}")
    if key.startswith("::ffff:"):
        raise DeadKeyError("Postfix looks this address up as an IPv4 address")
    return key
