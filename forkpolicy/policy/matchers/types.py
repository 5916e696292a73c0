"""The ACL types: one line each. What a type means stands in its file, which is imported when a policy has the type.

A server imports all of them before it forks (`import_types`): its children must import nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.errors import nearest
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.parts import PARTS
from forkpolicy.protocol.attributes import ATTRIBUTES, OF_THE_STORE, OTHER_NAMES

if TYPE_CHECKING:
    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.nodes import Word


class Place(NamedTuple):
    """Where a type is: a module of this package, and its name there."""

    module: str
    name: str = "TYPE"

    def load(self) -> AclType:
        """The type."""
        found = getattr(import_module(f"{__package__}.{self.module}"), self.name)
        assert isinstance(found, AclType)
        return found


# Every other attribute is of type text. `any` has no matchers but terms (policy/terms.py).
TYPES: Final[dict[str, AclType | Place]] = {
    "any": AclType(lambda _type_word, _words, _context: []),
    "sender": Place("address"),
    "recipient": Place("address"),
    "sasl_sender": Place("address"),
    "client_name": Place("host"),
    "reverse_client_name": Place("host"),
    "helo_name": Place("host"),
    "client_address": Place("network"),
    "server_address": Place("network"),
    "size": Place("number"),
    "recipient_count": Place("number"),
    "encryption_keysize": Place("number"),
    "client_port": Place("number"),
    "server_port": Place("number"),
    "spam_score": Place("decimal"),
    "mail_version": Place("version"),
    "compatibility_level": Place("version"),
    "protocol_state": Place("state"),
    "authenticated": Place("present", "AUTHENTICATED"),
    "encrypted": Place("present", "ENCRYPTED"),
    "null_sender": Place("present", "NULL"),
    "unqualified": Place("unqualified"),
    "stress": Place("stress"),
    "log": Place("always"),
    "date": Place("date"),
    "day": Place("day"),
    "time": Place("time_of_day"),
    "score": Place("score"),
    "country": Place("country", "COUNTRY_TYPE"),
    "asn": Place("country", "ASN_TYPE"),
    "greylisting": Place("remembering.greylisting"),
    "rate": Place("remembering.rate"),
    "distinct": Place("remembering.distinct"),
    "listed": Place("remembering.listed"),
    "rbl": Place("asking.rbl"),
    "rhsbl": Place("asking.rhsbl"),
    "service": Place("asking.service"),
    "spf": Place("asking.spf"),
}
_TEXT: Final = Place("text")
_PAIR: Final = Place("pair")
TABLE_PREFIX: Final = "table:"

# What an ACL of a type says as a rule: shown where a value is missing. Every other type has an expression.
EXAMPLES: Final = {
    "any": "ACL !ACL",
    "sender": "@example.com",
    "recipient": "anna@example.com",
    "sasl_sender": "@example.com",
    "client_name": ".example.com",
    "reverse_client_name": ".example.com",
    "helo_name": "mail.example.com",
    "client_address": "192.0.2.0/24",
    "server_address": "192.0.2.25",
    "size": ">10M",
    "recipient_count": ">50",
    "encryption_keysize": "<128",
    "client_port": "<1024",
    "server_port": "=587",
    "spam_score": ">=8.5",
    "mail_version": ">=3.8",
    "compatibility_level": ">=3.6",
    "protocol_state": "RCPT",
    "unqualified": "sender",
    "date": "2026-12-24..2027-01-06",
    "day": "Monday-Friday",
    "time": "08:00-17:00",
    "score": ">=5",
    "country": "table:TABLE CN RU",
    "asn": "table:TABLE AS64500",
    "rate": "{sasl_username} 100/1h",
    "distinct": "{sasl_username} {client_address} >5/1h",
    "listed": "LIST {client_address}",
    "rbl": "bl.example.org=127.0.0.2-11",
    "rhsbl": "{sender} dbl.example.org=127.0.1.*",
    "service": "unix:/run/postgrey/socket DEFER_IF_PERMIT",
    "spf": "fail softfail",
    "sasl_method": "PLAIN LOGIN",
    "protocol_name": "ESMTP",
}
ANY_TEXT: Final = "/expression/"

# A letter or two of a known type: `sendr`, `recipients`, `client_adress`. Two attributes of Postfix that differ as
# little would be a pair like ccert_issuer and ccert_issuer2.
MISSPELT: Final = 0.85


def type_named(name: str) -> AclType:
    """The type of a folded name: any name is one, since a newer Postfix may send an attribute of that name."""
    found = _PAIR if name.startswith(TABLE_PREFIX) else TYPES.get(name, _TEXT)
    return found.load() if isinstance(found, Place) else found


def import_types() -> None:
    """Import every type."""
    for name in (*TYPES, TABLE_PREFIX, ""):
        type_named(name)


def type_diagnostic(word: Word) -> Diagnostic | None:
    """What is wrong with a type that is not an attribute of a Postfix known today.

    An error where it is a known one misspelt; any other may be one that a newer Postfix sends: a warning.
    """
    name = word.text.lower()
    if name in ATTRIBUTES or name in OF_THE_STORE or name in TYPES or name.startswith(TABLE_PREFIX):
        return None
    if name in PARTS:
        message = f'"{word.text}" is a part of {PARTS[name].attribute} and not a type of ACL'
        return word.error(message, f"it stands in braces, as in acl NAME table:T {{{name}}}")
    known = list(dict.fromkeys((*ATTRIBUTES, *OF_THE_STORE, *TYPES)))
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
        context.wrong(type_word, f"{name} needs a value, as in acl NAME {name} {EXAMPLES.get(name, ANY_TEXT)}")
        return []
    return found.build(type_word, words, context)
