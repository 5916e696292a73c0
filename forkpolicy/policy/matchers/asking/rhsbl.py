"""`rhsbl [>=N] {ATTRIBUTE} ZONE[=CODES]...`: the domain of an address, or a name, is in N of these DNS lists.

Address literals, names without a dot and names that the DNS cannot have are in no list and are not asked about.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import nearest
from forkpolicy.policy.matchers.asking.dnsbl import DnsblMatcher, Values
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.parts import part_named
from forkpolicy.protocol.attributes import STATES
from forkpolicy.tables.keys import fold_domain
from forkpolicy.tables.kinds.domain import domain_of_address
from forkpolicy.tables.kinds.kind import Subject
from forkpolicy.world.dnsbl import Dnsbl, Lists, fits, is_name

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.nodes import Word
    from forkpolicy.policy.parts import Part

NAMES: Final = ("sender", "recipient", "sasl_sender", "client_name", "reverse_client_name", "helo_name", "helo_domain")
FORM: Final = "expected rhsbl {ATTRIBUTE} ZONE..., as in rhsbl {sender} dbl.spamhaus.org"
REMEMBERED: Final = 1024


class RhsblMatcher(DnsblMatcher):
    """Some zones, asked about a domain, which is part of an attribute."""

    known_states = frozenset(STATES) - {"VRFY", "ETRN"}

    def __init__(self, part: Part, lists: Lists) -> None:
        super().__init__(part.attribute, lists)
        # `{sender_domain}` is another word for what is asked about `{sender}`.
        self.about = part.attribute if part.of is domain_of_address else part.name
        self._domain_of = domain_of_address if part.subject is Subject.MAIL else part.text
        # As in rbl.py.
        self.asked_about = lru_cache(REMEMBERED)(self._asked_about)  # type: ignore[method-assign]

    def _asked_about(self, text: str) -> Dnsbl | None:
        domain = fold_domain(self._domain_of(text))
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
    part = part_named(name)
    if part is None or part.subject not in (Subject.MAIL, Subject.HOST):
        near = nearest(name, NAMES)
        hint = f'did you mean "{{{near}}}"?' if near else f"expected one of {', '.join(NAMES)}"
        context.wrong(values.attribute, f'"{name}" is not an attribute with a domain', hint)
        return []
    return [RhsblMatcher(part, lists)]


TYPE = AclType(_build)
