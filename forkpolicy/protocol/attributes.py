"""The attributes of a policy request: since when Postfix sends each, and at which protocol states it is known.

Names, versions and states are those of SMTPD_POLICY_README and of what Postfix 3.7 sends. Nothing here does I/O.

An attribute with a value is known. An empty one ("0" for numbers) is known only at the states in which Postfix would
have filled it: an empty sender from MAIL on is the null sender, before MAIL it is not there yet. A name that is not
listed here, sent by a newer Postfix, is known whenever the request has it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CONNECT: Final = "CONNECT"
STATES: Final = (CONNECT, "EHLO", "HELO", "MAIL", "RCPT", "DATA", "END-OF-MESSAGE", "VRFY", "ETRN")

AFTER_CONNECT = frozenset(STATES) - {CONNECT}
FROM_MAIL = frozenset({"MAIL", "RCPT", "DATA", "END-OF-MESSAGE"})
# AUTH and STARTTLS come between EHLO and MAIL: at VRFY and ETRN a session without them has decided so.
SESSION = FROM_MAIL | {"VRFY", "ETRN"}
FROM_DATA = frozenset({"DATA", "END-OF-MESSAGE"})
NEVER: frozenset[str] = frozenset()


class Attribute(NamedTuple):
    """One attribute. `empty_known_at`: states at which an empty value means "none"; None: at every state."""

    name: str
    since: str
    empty_known_at: frozenset[str] | None = None
    number: bool = False

    @property
    def empty(self) -> tuple[str, ...]:
        """The values that stand for "nothing here"."""
        return ("", "0") if self.number else ("",)

    def known(self, value: str | None, state: str) -> bool:
        """Whether `value` says something about the request at `state` (None: the request has no such attribute)."""
        if self.empty_known_at is None:
            return True
        return (value or "") not in self.empty or state in self.empty_known_at


class UnlistedAttribute(Attribute):
    """One that only a newer Postfix sends: known when it is there, empty or not."""

    def known(self, value: str | None, state: str) -> bool:  # noqa: ARG002 - the state says nothing here
        """Whether the request has it."""
        return value is not None


# In the order in which Postfix sends them.
ATTRIBUTES: Final = {
    attribute.name: attribute
    for attribute in (
        Attribute("request", "2.1"),
        Attribute("protocol_state", "2.1"),
        Attribute("protocol_name", "2.1"),
        Attribute("client_address", "2.1"),
        Attribute("client_name", "2.1"),
        Attribute("client_port", "3.0"),
        Attribute("reverse_client_name", "2.1"),
        Attribute("server_address", "3.2"),
        Attribute("server_port", "3.2"),
        Attribute("helo_name", "2.1", AFTER_CONNECT),
        Attribute("sender", "2.1", FROM_MAIL),
        Attribute("recipient", "2.1", frozenset({"RCPT"})),
        Attribute("recipient_count", "2.1", FROM_DATA, number=True),
        Attribute("queue_id", "2.1", FROM_DATA),
        Attribute("instance", "2.1", NEVER),
        Attribute("size", "2.2", frozenset({"END-OF-MESSAGE"}), number=True),
        Attribute("etrn_domain", "2.3", frozenset({"ETRN"})),
        Attribute("stress", "2.5"),
        Attribute("sasl_method", "2.2", SESSION),
        Attribute("sasl_username", "2.2", SESSION),
        Attribute("sasl_sender", "2.2", SESSION),
        Attribute("ccert_subject", "2.2", SESSION),
        Attribute("ccert_issuer", "2.2", SESSION),
        Attribute("ccert_fingerprint", "2.2", SESSION),
        Attribute("ccert_pubkey_fingerprint", "2.9", SESSION),
        Attribute("encryption_protocol", "2.3", SESSION),
        Attribute("encryption_cipher", "2.3", SESSION),
        Attribute("encryption_keysize", "2.3", SESSION, number=True),
        Attribute("tls_sni", "3.12", SESSION),
        Attribute("policy_context", "3.1"),
        Attribute("compatibility_level", "3.8"),
        Attribute("mail_version", "3.8"),
    )
}

# What the gateway's store sends of held mail besides (gateway/store/arrival.py); no Postfix does. The context of its
# requests begins with HELD: there an ACL that remembers or asks cannot be known, as its question was answered when the
# mail came in, and nothing counts.
OF_THE_STORE: Final = ("held_cause", "spam_score", "spam_auth")
HELD: Final = "held-"

# What logs and other programs call attributes of Postfix: for hints, since nothing is guessed.
OTHER_NAMES: Final = {
    "client": "client_address",
    "client_ip": "client_address",
    "ip": "client_address",
    "from": "sender",
    "mail_from": "sender",
    "to": "recipient",
    "rcpt": "recipient",
    "rcpt_to": "recipient",
    "helo": "helo_name",
    "ehlo": "helo_name",
    "user": "sasl_username",
    "username": "sasl_username",
    "login": "sasl_username",
    "state": "protocol_state",
    "proto": "protocol_name",
    "context": "policy_context",
}

# What those attributes are called in the log that every decision's line has.
LOGGED_AS: Final = {
    "protocol_state": "state",
    "client_address": "client",
    "sender": "sender",
    "recipient": "recipient",
    "sasl_username": "sasl_username",
    "queue_id": "queue_id",
}


# The states at which an attribute that is not always known can have something to say at all. VRFY is let through
# within a transaction, ETRN is not.
_FROM_RCPT = frozenset({"RCPT", "DATA", "END-OF-MESSAGE", "VRFY"})
_SAYS_SOMETHING_AT = {
    "helo_name": AFTER_CONNECT,
    "sender": FROM_MAIL | {"VRFY"},
    "recipient": _FROM_RCPT,
    "recipient_count": FROM_DATA,
    "queue_id": _FROM_RCPT,
    "instance": _FROM_RCPT,
    "size": FROM_MAIL | {"VRFY"},
    "etrn_domain": frozenset({"ETRN"}),
}


def states_of(name: str) -> frozenset[str]:
    """The protocol states at which an attribute can be known; TLS and AUTH can be there from EHLO on."""
    found = attribute(name)
    if found.empty_known_at is None:
        return frozenset(STATES)
    return _SAYS_SOMETHING_AT.get(name, AFTER_CONNECT)


def attribute(name: str) -> Attribute:
    """The attribute of that name, or one that stands for a name of a newer Postfix."""
    return ATTRIBUTES.get(name) or UnlistedAttribute(name, "")
