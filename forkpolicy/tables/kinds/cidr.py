"""`cidr`: addresses and networks of machines, the most specific wins; a range is the networks that cover it."""

from __future__ import annotations

import re
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, ClassVar, Final

from forkpolicy.tables import keys
from forkpolicy.tables.kinds.kind import Subject, TableKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import lmdb

    from forkpolicy.tables.format import Traits
    from forkpolicy.tables.kinds.kind import Find, SortKey, SourceKey, View

_NETWORK_LIKE: Final = re.compile(r"[\[(]?[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]+\]?(/\d+)?[,;]?$")
# What looks like a part of a network and is more often the number or the text of an entry: `4.5`, `5.7.1 not welcome`.
_NUMBER_OR_STATUS: Final = re.compile(r"\d+\.\d+|[245]\.\d{1,3}\.\d{1,3}", re.ASCII)


class CidrKind(TableKind):
    """Keys are last addresses of disjoint ranges, family first."""

    stores_ranges = True
    asked_for: ClassVar[Mapping[Subject, View | None]] = {Subject.MACHINE: None}

    def finder(self, cursor: lmdb.Cursor[bytes], _traits: Traits, _delimiter: str) -> Find:
        """The first key not below the address is the only candidate."""
        set_range, value, ip_key = cursor.set_range, cursor.value, keys.ip_key

        def find(text: str) -> bytes | None:
            try:
                # Addresses as Postfix writes them; the careful way has the rest, mapped ones (they begin with 0)
                # included.
                if ":" in text:
                    packed = inet_pton(AF_INET6, text)
                    key = b"6" + packed if packed[0] else ip_key(text)
                else:
                    key = b"4" + inet_pton(AF_INET, text)
            except (OSError, ValueError):
                key = ip_key(text)
            if key is not None and set_range(key):
                raw = value()
                # Its first address comes first, family before it: the first IPv6 range never passes for the last IPv4
                # address. What follows begins below 0xff.
                if raw < key + b"\xff":
                    return raw
            return None

        return find

    def sort_keys(self, key: SourceKey) -> list[SortKey]:
        """Of each network its first address, prefix length (the wider first) and last address."""
        if key.rest:
            _refuse_half_networks(key)
        found = []
        for first, last in networks_of(key):
            length = keys.prefix_length(first, last)
            found.append((f"{first.hex()}{length:02x}{last.hex()}", length))
        return found

    def wildcard_labels(self, _keys: object) -> set[int]:
        """Networks have no labels."""
        return set()

    def shape(self, key: str) -> str:
        """By family and prefix length."""
        family = "IPv6" if ":" in key else "IPv4"
        return f"{family} /{key.partition('/')[2] or ('128' if family == 'IPv6' else '32')}"


def networks_of(key: SourceKey) -> list[keys.IpRange]:
    """The network of an entry, or those of its range. Raises ValueError."""
    start, dash, end = key.text.partition("-")
    if not dash or "%" in key.text:
        return [keys.parse_network(key.text, allow_wide=key.allow_wide)]
    networks = keys.split_range(*keys.parse_range(start, end))
    if not key.allow_wide:
        for first, last in networks:
            keys.refuse_wide(first, keys.prefix_length(first, last))
    return networks


def _refuse_half_networks(key: SourceKey) -> None:
    """What stands behind a network and looks like the rest of it, or like another one."""
    if key.rest[0] in "-/":
        joined = "".join(f"{key.text} {key.rest}".split())
        raise ValueError(
            f"blanks within a network or a range: did you mean {joined}? A value that begins so goes in quotes"
        )
    if _NETWORK_LIKE.match(key.second) and not _NUMBER_OR_STATUS.fullmatch(key.second):
        raise ValueError(
            f"two entries on one line ({key.text} and {key.second}): write one a line, or put commas between; "
            "a value that is a network goes in quotes"
        )
