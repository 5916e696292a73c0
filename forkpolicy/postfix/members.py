"""What Postfix matches with the members of its lists, and which keys of a table match the same.

Postfix compares in different ways, by the parameter and by where a member stands, and a table that held more would
accept clients that Postfix does not. As Postfix 3.7 does it, shown by tests/postfix/test_postconf_lists.py:

* `mydestination` and `virtual_..._domains`: names alone. `.example.com` and `example.com.` match nothing.
* other lists of names (`relay_domains`): where `parent_domain_matches_subdomains` has the parameter, a name matches
  what is below it too, and `.example.com` matches nothing; elsewhere `.example.com` matches what is below.
* lists of networks: an address, or an address with the length of a prefix, IPv6 in brackets. In maps only cidr: has
  networks; every other is asked for whole addresses, as the client's is written.
* lists fold case, and so does postmap(1) when it makes a map, but texthash: and inline: maps of a list keep it:
  there a key with capitals matches nothing.
* maps of addresses (`virtual_alias_maps`): a key without `@` is a local part of Postfix's own domains, and no domain.

What matches nothing is left out and counted. Raises ValueError for what Postfix would fail at, and for what no table
can hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.tables.keys import ip_key, ip_text
from forkpolicy.tables.names import NUMERIC_TOP, parse_host_pattern

if TYPE_CHECKING:
    from forkpolicy.tables.kinds.kind import TableKind

_NAMES_ALONE: Final = ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains")
# Of the parameters that are maps, these have domains as keys.
_DOMAINS_AS_KEYS: Final = ("transport_maps",)

# Debian's package writes it into main.cf beside 127.0.0.0/8. It matches nothing, because Postfix knows a client with a
# mapped address by its IPv4 one.
_OF_DEBIAN: Final = "[::ffff:127.0.0.0]/104"

_WHOLE_ADDRESSES: Final = "networks in maps in which Postfix looks up the client's whole address,"
_LITERALS: Final = "address literals"
_ADDRESSES: Final = "mail addresses in maps"
_LOCAL_PARTS: Final = "keys without @, which are local parts of Postfix's own domains,"
_CAPITALS: Final = "keys with capitals, which Postfix does not fold in texthash: and inline: maps of a list,"
_NOTHING: Final = "names with a dot at the front or the end, which match nothing in Postfix,"


@dataclass(slots=True)
class Members:
    """The members of one parameter, for a table of some kind."""

    parameter: str
    kind: TableKind
    with_subdomains: bool
    # What is left out: how often, and the first of it.
    _left_out: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def has_values(self) -> bool:
        """Whether the value of a key counts."""
        return self.parameter.endswith("_maps")

    @property
    def warnings(self) -> list[str]:
        """What was left out, and how often."""
        return [f"{what} are left out ({count}, first {first})" for what, (count, first) in self._left_out.items()]

    def keys_of_word(self, word: str) -> list[str]:
        """The keys for what stands in the list itself, or in a file of it."""
        if self.kind.stores_ranges:
            return [] if word == _OF_DEBIAN else [_network(word)]
        return self._leave_out(_LITERALS, word) if word.startswith("[") else self._names(word)

    def keys_of_key(self, key: str, map_type: str) -> list[str]:
        """The keys for what stands in a map of the list."""
        if self.kind.stores_ranges:
            return [key] if map_type == "cidr" else self._whole_address(key)
        if self.has_values:
            is_local = self.kind.has_local_parts and "@" not in key and self.parameter not in _DOMAINS_AS_KEYS
            return self._leave_out(_LOCAL_PARTS, key) if is_local else [key]
        if "@" in key:
            return self._leave_out(_ADDRESSES, key)
        return self._names(key) if key == key.lower() else self._leave_out(_CAPITALS, key)

    def _names(self, name: str) -> list[str]:
        if name.endswith(".") or (name.startswith(".") and (self.with_subdomains or self.parameter in _NAMES_ALONE)):
            return self._leave_out(_NOTHING, name)
        has_more = self.with_subdomains and self.parameter not in _NAMES_ALONE and _is_name(name)
        return [name, f".{name}"] if has_more else [name]

    def _whole_address(self, key: str) -> list[str]:
        address = ip_key(key)
        if address and ip_text(address) == key:
            return [key]
        if ip_key(key.partition("/")[0]):
            return self._leave_out(_WHOLE_ADDRESSES, key)
        return [_network(key)]

    def _leave_out(self, what: str, example: str) -> list[str]:
        count, first = self._left_out.get(what, (0, example))
        self._left_out[what] = count + 1, first
        return []


def _network(word: str) -> str:
    """What a list of networks means by a word; what is not a network at all is for the table's own parser."""
    bare = word.replace("[", "").replace("]", "")
    address, slash, length = bare.partition("/")
    if ":" in word and not word.startswith("["):
        meant = f"[{address}]{slash}{length}"
        raise ValueError(f'{word} is a map of type "{word.partition(":")[0]}" for Postfix: did you mean {meant}?')
    key = ip_key(address)
    if key is None:
        if "-" in word and ip_key(word.partition("-")[0]):
            raise ValueError(f"{word} is a range, which matches nothing in Postfix: write networks")
        if re.search(r"[A-Za-z]", word):
            raise ValueError(_host_name(word))
    elif ":" in address and key.startswith(b"4"):
        raise ValueError(f"{word} matches nothing in Postfix: did you mean {ip_text(key)}?")
    elif slash and not length.isdecimal():
        raise ValueError(f"{word} is refused by Postfix: write a prefix length after the slash")
    return bare


def _host_name(word: str) -> str:
    return (
        f"{word} is a host name, which Postfix compares with the client's name: "
        "a cidr table has networks; name it in an acl of type client_name"
    )


def _is_name(key: str) -> bool:
    """Whether there are names below it; for what is not a name, one diagnostic is enough."""
    try:
        return not key.startswith(".") and not NUMERIC_TOP.search(parse_host_pattern(key))
    except ValueError:
        return False
