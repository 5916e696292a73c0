"""`rbl [>=N] ZONE[=CODES]...`: the address of the client is in N of these DNS lists.

Private addresses and those of no single machine are in no list and are not asked about.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from forkpolicy.policy.matchers.asking.dnsbl import DnsblMatcher, Values
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.tables.keys import ip_key, ip_text
from forkpolicy.world.dnsbl import Dnsbl, Lists, name_of_address

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.nodes import Word

# Networks for documentation are asked about like any other.
NEVER_ASKED: Final = """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16
224.0.0.0/3 ::/128 ::1/128 fc00::/7 fe80::/10 ff00::/8""".split()  # noqa: SIM905 - thirteen networks
_RANGES: Final = tuple(
    (each.network_address.packed, each.broadcast_address.packed) for each in map(ip_network, NEVER_ASKED)
)
REMEMBERED: Final = 1024


class RblMatcher(DnsblMatcher):
    """Some zones, asked about `client_address`."""

    def __init__(self, lists: Lists) -> None:
        super().__init__("client_address", lists)
        # The commands of a session are about one client, and parsing an address takes 2 us.
        self.asked_about = lru_cache(REMEMBERED)(self._asked_about)  # type: ignore[method-assign]

    def _asked_about(self, text: str) -> Dnsbl | None:
        key = ip_key(text)
        if key is None or is_never_asked(key[1:]):
            return None
        return Dnsbl(name_of_address(key[1:]), ip_text(key), self.lists, self.wants_text)


def is_never_asked(packed: bytes) -> bool:
    """Whether an address, of IPv4 where it is mapped, is in no list."""
    return any(first <= packed <= last for first, last in _RANGES if len(first) == len(packed))


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    values = Values(context)
    lists = values.lists(type_word, words)
    if values.attribute:
        context.wrong(values.attribute, "rbl asks about the client's address: expected zones", "rhsbl asks about names")
        return []
    return [RblMatcher(lists)] if lists else []


TYPE = AclType(_build)
