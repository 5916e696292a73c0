"""What may stand in braces: an attribute of the request, or a part of one, such as `{sender_domain}`.

One place for the names, what each is a part of, and how it is taken out. Parts of addresses are of what policies see,
the address after Postfix's rewriting, with its extension. Domains are compared in their ASCII form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.errors import nearest
from forkpolicy.protocol.attributes import ATTRIBUTES
from forkpolicy.tables.keys import fold_domain, fold_text, ip_key, split_address
from forkpolicy.tables.kinds.domain import domain_of_address
from forkpolicy.tables.kinds.kind import Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.tables.kinds.kind import View

MIN_HELO_LABELS: Final = 3


class Part(NamedTuple):
    """An attribute, or a part of one. `of` takes it out of the attribute's value; None: all of it."""

    name: str
    attribute: str
    subject: Subject
    of: View | None = None

    def text(self, value: str) -> str:
        """The part of an attribute's value, as it stands there."""
        return self.of(value) if self.of else value

    @property
    def fold(self) -> Callable[[str], str]:
        """Makes equal what compares equal: of a domain its ASCII form."""
        return fold_domain if self.subject is Subject.HOST else fold_text


def local_part(address: str) -> str:
    """The local part of a mail address, which without a domain is all of it."""
    return split_address(address)[0]


def helo_domain(helo: str) -> str:
    """A HELO name without its first label, folded; empty for an address and for fewer than three labels."""
    if helo.startswith("[") or ip_key(helo):
        return ""
    name = fold_domain(helo)
    return name.partition(".")[2] if name.count(".") >= MIN_HELO_LABELS - 1 else ""


PARTS: Final = {
    part.name: part
    for part in (
        Part("sender_domain", "sender", Subject.HOST, domain_of_address),
        Part("sender_localpart", "sender", Subject.TEXT, local_part),
        Part("recipient_domain", "recipient", Subject.HOST, domain_of_address),
        Part("recipient_localpart", "recipient", Subject.TEXT, local_part),
        Part("helo_domain", "helo_name", Subject.HOST, helo_domain),
    )
}
_SUBJECTS: Final = {
    **dict.fromkeys(("sender", "recipient", "sasl_sender"), Subject.MAIL),
    **dict.fromkeys(("client_name", "reverse_client_name", "helo_name"), Subject.HOST),
    **dict.fromkeys(("client_address", "server_address"), Subject.MACHINE),
}


def part_named(name: str) -> Part | None:
    """What a name in braces stands for; None where it is unknown."""
    if name in ATTRIBUTES:
        return Part(name, name, _SUBJECTS.get(name, Subject.TEXT))
    return PARTS.get(name)


def nearest_name(name: str, *others: str) -> str | None:
    """The known name that an unknown one may be meant for; `others` are known, too."""
    return nearest(name, [*ATTRIBUTES, *PARTS, *others])
