"""What must become of each copy of a mail at a gateway, found out in another way than the gateway's: no line of the
product is used here. Sets and comparisons, as people would say the recipe's rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from loadtest.traffic.gateway_day import Lists, SiteMail

# A recipient or a domain, and a sender or a domain.
Pair = tuple[str, str]
FORGED, BLOCKED, UNKNOWN = "refused: forged", "refused: blocked", "refused: unknown"
HELD_POLICY, HELD_SPAM, DELIVERED = "held: policy", "held: spam", "delivered"
REFUSED: Final = {FORGED: 554, BLOCKED: 554, UNKNOWN: 550}


class GatewayOracle:
    """Knows who the people are, whose clients SPF vouches for, and which greeting a rule holds."""

    def __init__(
        self, people: Collection[str], domains: Collection[str], friend: str, friends_network: str, strange_helo: str
    ) -> None:
        self._people, self._domains = frozenset(people), frozenset(domains)
        self._friend, self._friends_network, self._strange_helo = friend, friends_network, strange_helo

    def fate(self, mail: SiteMail, recipient: str, lists: Lists) -> str:
        """What becomes of the copy of a recipient, one of the constants above, before anybody acts on it."""
        sender, address = mail.sender.lower(), recipient.lower()
        if mail.client and _domain(sender) in self._domains and _domain(address) in self._domains:
            return FORGED
        if _listed(lists.block, address, sender):
            return BLOCKED
        if address not in self._people:
            return UNKNOWN
        return self._content(mail, sender, address, lists)

    def _content(self, mail: SiteMail, sender: str, address: str, lists: Lists) -> str:
        if mail.is_spam:
            vouched = _domain(sender) == self._friend and mail.client.startswith(self._friends_network)
            return DELIVERED if vouched and _listed(lists.welcome, address, sender) else HELD_SPAM
        return HELD_POLICY if mail.helo == self._strange_helo else DELIVERED


def _listed(entries: frozenset[Pair], address: str, sender: str) -> bool:
    people, senders = (address, _domain(address)), (sender, _domain(sender))
    return any((person, each) in entries for person in people for each in senders if each)


def _domain(address: str) -> str:
    return address.rpartition("@")[2] if "@" in address else ""
