"""The ACL types: one line each. What a type means stands in its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.errors import nearest
from forkpolicy.policy.matchers import (
    address,
    always,
    country,
    date,
    day,
    host,
    network,
    number,
    pair,
    present,
    score,
    state,
    stress,
    text,
    time_of_day,
    unqualified,
    version,
)
from forkpolicy.policy.matchers.asking import rbl, rhsbl, service, spf
from forkpolicy.policy.matchers.remembering import distinct, greylisting, listed, rate
from forkpolicy.protocol.attributes import ATTRIBUTES, OTHER_NAMES

if TYPE_CHECKING:
    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.matchers.context import AclType, BuildContext
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.nodes import Word

# Every other attribute is of type text.
TYPES: Final[dict[str, AclType]] = {
    "sender": address.TYPE,
    "recipient": address.TYPE,
    "sasl_sender": address.TYPE,
    "client_name": host.TYPE,
    "reverse_client_name": host.TYPE,
    "helo_name": host.TYPE,
    "client_address": network.TYPE,
    "server_address": network.TYPE,
    "size": number.TYPE,
    "recipient_count": number.TYPE,
    "encryption_keysize": number.TYPE,
    "client_port": number.TYPE,
    "server_port": number.TYPE,
    "mail_version": version.TYPE,
    "compatibility_level": version.TYPE,
    "protocol_state": state.TYPE,
    "authenticated": present.AUTHENTICATED,
    "encrypted": present.ENCRYPTED,
    "null_sender": present.NULL,
    "unqualified": unqualified.TYPE,
    "stress": stress.TYPE,
    "log": always.TYPE,
    "date": date.TYPE,
    "day": day.TYPE,
    "time": time_of_day.TYPE,
    "score": score.TYPE,
    "country": country.COUNTRY_TYPE,
    "asn": country.ASN_TYPE,
    "greylisting": greylisting.TYPE,
    "rate": rate.TYPE,
    "distinct": distinct.TYPE,
    "listed": listed.TYPE,
    "rbl": rbl.TYPE,
    "rhsbl": rhsbl.TYPE,
    "service": service.TYPE,
    "spf": spf.TYPE,
}
TABLE_PREFIX: Final = "table:"

# A letter or two of a known type: `sendr`, `recipients`, `client_adress`. Two attributes of Postfix that differ as
# little would be a pair like ccert_issuer and ccert_issuer2.
MISSPELT: Final = 0.85


def type_named(name: str) -> AclType:
    """The type of a folded name: any name is one, since a newer Postfix may send an attribute of that name."""
    return pair.TYPE if name.startswith(TABLE_PREFIX) else TYPES.get(name, text.TYPE)


def type_diagnostic(word: Word) -> Diagnostic | None:
    """What is wrong with a type that is not an attribute of a Postfix known today.

    An error where it is a known one misspelt; any other may be one that a newer Postfix sends: a warning.
    """
    name = word.text.lower()
    if name in ATTRIBUTES or name in TYPES or name.startswith(TABLE_PREFIX):
        return None
    known = [*ATTRIBUTES, *(each for each in TYPES if each not in ATTRIBUTES)]
    meant = nearest(name, known, MISSPELT)
    if meant:
        return word.error(f'unknown type of ACL "{word.text}"', f'did you mean "{meant}"?')
    near = OTHER_NAMES.get(name) or nearest(name, known)
    if near:
        return word.warning(f'no Postfix known today sends an attribute "{word.text}"', f'did you mean "{near}"?')
    return word.warning(f'no Postfix known today sends an attribute "{word.text}": the ACL may never be known')


def build_matchers(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    """The matchers of an ACL of this type with these values. Mistakes go to the context."""
    name = type_word.text.lower()
    found = type_named(name)
    if not found.takes_values:
        for word in words[:1]:
            context.wrong(word, f"{name} takes no value")
    elif not words and not found.may_be_bare:
        context.wrong(type_word, f"{name} needs a value")
        return []
    return found.build(type_word, words, context)
