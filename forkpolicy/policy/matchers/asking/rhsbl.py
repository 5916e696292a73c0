"""`rhsbl [>=N] {ATTRIBUTE} ZONE[=CODES]...`: the domain of an address, or a name, is in N of these DNS lists.

Address literals, names without a dot and names that the DNS cannot have are in no list and are not asked about.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import nearest
from forkpolicy.policy.matchers.asking.dnsbl import DnsblMatcher, Values
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.protocol.attributes import STATES
from forkpolicy.tables.keys import fold_domain, split_address
from forkpolicy.world.dnsbl import Dnsbl, Lists, fits, is_name

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.nodes import Word

ADDRESSES: Final = ("sender", "recipient", "sasl_sender")
NAMES: Final = ("client_name", "reverse_client_name", "helo_name")
# Words in braces of other places, with the attribute that they are of.
DOMAINS: Final = {"sender_domain": "sender", "recipient_domain": "recipient"}
FORM: Final = "expected rhsbl {ATTRIBUTE} ZONE..., as in rhsbl {sender} dbl.spamhaus.org"
REMEMBERED: Final = 1024


class RhsblMatcher(DnsblMatcher):
    """Some zones, asked about the domain in one attribute."""

    known_states = frozenset(STATES) - {"VRFY", "ETRN"}

    def __init__(self, attribute: str, lists: Lists) -> None:
        super().__init__(attribute, lists)
        self._is_address = attribute in ADDRESSES
        # As in rbl.py.
        self.asked_about = lru_cache(REMEMBERED)(self._asked_about)  # type: ignore[method-assign]

    def _asked_about(self, text: str) -> Dnsbl | None:
        domain = fold_domain(split_address(text)[1] if self._is_address else text)
        if not is_name(domain) or not fits(domain, self.lists):
            return None
        return Dnsbl(domain, domain, self.lists, self.wants_text)


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    values = Values(context, of_names=True)
    lists = values.lists(type_word, words)
    if lists is None:
        return []
    if values.attribute is None:
        context.wrong(type_word, FORM)
        return []
    name = values.attribute.text[1:-1]
    attribute = DOMAINS.get(name, name)
    if attribute not in (*ADDRESSES, *NAMES):
        near = nearest(name, (*ADDRESSES, *NAMES))
        hint = f'did you mean "{{{near}}}"?' if near else f"expected one of {', '.join((*ADDRESSES, *NAMES))}"
        context.wrong(values.attribute, f'"{name}" is not an attribute with a domain', hint)
        return []
    return [RhsblMatcher(attribute, lists)]


TYPE = AclType(_build)
