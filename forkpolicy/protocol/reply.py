"""Replies: what access(5) allows after `action=`, checked when a policy is loaded, and the bytes that are sent.

Postfix treats an unknown word as a list of restrictions, digits as OK, an empty action as OK and a malformed one
as a server error (451): each would turn a typing mistake into mail that is let in or turned away, so none gets
past `parse_reply`. `parse_reply` raises ValueError with the reason; `encode` cannot fail.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from forkpolicy.errors import nearest

# access(5) of Postfix 3.7 to 3.11. The value says what has to follow the word.
VERBS = {
    "OK": "",
    "RELAY": "",
    "DUNNO": "",
    "REJECT": "",
    "DEFER": "",
    "DEFER_IF_REJECT": "",
    "DEFER_IF_PERMIT": "",
    "DISCARD": "",
    "HOLD": "",
    "WARN": "",
    "INFO": "",
    "BCC": "address",
    "REDIRECT": "address",
    "FILTER": "transport",
    "PREPEND": "header",
}

# What Postfix takes to be its whole argument, blanks and all.
ONE_WORD = ("address", "transport")
ADDRESS = re.compile(r'[^\s<>(),;"\\@]+@(?:\[[\w.:]+\]|[^\s<>(),;:"\\@\[\]]+)')
TRANSPORT = re.compile(r"[\w.-]+:\S*", re.ASCII)

# Restrictions of postconf(5) that make sense as the result of a policy look-up without a class of the operator's own.
RESTRICTIONS = frozenset(
    """permit permit_auth_destination permit_inet_interfaces permit_mynetworks permit_naked_ip_address
    permit_sasl_authenticated permit_tls_all_clientcerts permit_tls_clientcerts reject
    reject_authenticated_sender_login_mismatch reject_invalid_helo_hostname reject_known_sender_login_mismatch
    reject_multi_recipient_bounce reject_non_fqdn_helo_hostname reject_non_fqdn_recipient reject_non_fqdn_sender
    reject_plaintext_session reject_sender_login_mismatch reject_unauth_destination reject_unauth_pipelining
    reject_unauthenticated_sender_login_mismatch reject_unknown_client_hostname reject_unknown_helo_hostname
    reject_unknown_recipient_domain reject_unknown_reverse_client_hostname reject_unknown_sender_domain
    reject_unlisted_recipient reject_unlisted_sender reject_unverified_recipient reject_unverified_sender
    defer defer_unauth_destination warn_if_reject""".split()  # noqa: SIM905 - thirty words read better as a text
)

# One SMTP reply line: RFC 5321 4.5.3.1.5 allows 512 octets, Postfix adds the code and the recipient.
MAX_TEXT_BYTES = 450
# Of what comes from outside, unless somebody knows better.
MAX_CHARS = 200

BEGIN, END = "action=", "\n\n"

WHOLE_MESSAGE = frozenset({"BCC", "DISCARD", "FILTER", "HOLD", "REDIRECT"})


class Reply(NamedTuple):
    """One checked result of access(5). `verb` is upper case, `4xx`/`5xx` for codes, `restriction` for
    restrictions.
    """

    verb: str
    text: str


def parse_reply(text: str) -> Reply:
    """Check a reply as access(5) would read it. Raises ValueError with the reason and what to write."""
    words = text.split(None, 1)
    if not words:
        raise ValueError("an empty reply: Postfix would take it for OK; write DUNNO, OK, REJECT text or another action")
    word, rest = words[0], words[1].strip() if len(words) > 1 else ""
    if word.isdigit():
        return _coded(word, rest)
    verb = word.upper()
    if verb in VERBS:
        _check_argument(verb, rest)
        _check_text(rest)
        return Reply(verb, f"{verb} {rest}".rstrip())
    if word.lower() in RESTRICTIONS and all(each.lower() in RESTRICTIONS for each in rest.split()):
        return Reply("restriction", f"{word.lower()} {rest.lower()}".rstrip())
    near = nearest(word, [verb.lower() for verb in VERBS] + sorted(RESTRICTIONS))
    shown = near.upper() if near and near.upper() in VERBS else near
    hint = f'; did you mean "{shown}"?' if shown else f"; known: {', '.join(VERBS)}, 4NN text, 5NN text"
    raise ValueError(f'"{word}" is not an action of access(5)' + hint)


def _coded(word: str, rest: str) -> Reply:
    if not re.fullmatch("[45][0-9][0-9]", word):
        raise ValueError(
            f"{word} is not an SMTP reply code: Postfix would take a bare number for OK; write 4NN text or 5NN text"
        )
    if not rest:
        raise ValueError(f"{word} without a text: Postfix would take a bare number for OK; write {word} and a reason")
    _check_text(rest)
    return Reply(f"{word[0]}xx", f"{word} {rest}")


def _check_argument(verb: str, rest: str) -> None:
    needs, words = VERBS[verb], rest.split()
    if needs in ONE_WORD and len(words) > 1:
        raise ValueError(f'{verb} takes one {needs}: Postfix would take "{words[1]}" for a part of it')
    if needs == "address" and not ADDRESS.fullmatch(rest):
        raise ValueError(f"{verb} needs a mail address: {verb} user@example.com")
    if needs == "transport" and not TRANSPORT.fullmatch(rest):
        raise ValueError("FILTER needs transport:destination, such as FILTER smtp:[127.0.0.1]:10025")
    if needs == "header" and not re.match(r"[!-9;-~]+:", rest):
        raise ValueError("PREPEND needs a header, such as PREPEND X-Policy: checked")


def _check_text(rest: str) -> None:
    if not rest.isprintable():
        raise ValueError("the text has a control character or a byte that is not UTF-8: Postfix would refuse the reply")
    length = len(rest.encode("utf-8", "replace"))
    if length > MAX_TEXT_BYTES:
        raise ValueError(f"the text has {length} bytes: more than {MAX_TEXT_BYTES} do not fit into one SMTP reply line")


def clean(value: str, limit_chars: int = MAX_CHARS) -> str:
    """Text from outside, fit to stand in a reply: no control characters, valid UTF-8, cut at `limit_chars`."""
    printable = value if value.isprintable() else "".join(char if char.isprintable() else "?" for char in value)
    return printable[:limit_chars]


def encode(text: str) -> bytes:
    """The bytes of one reply; exactly these, since Postfix takes anything readable before its next request for a
    lost server.
    """
    return f"{BEGIN}{text}{END}".encode()
