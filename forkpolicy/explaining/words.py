"""The request that `forkpolicy explain` is asked about on its command line: attributes, or one line of a log.

A word that Postfix could not have sent is refused with what was meant, since its explanation would be about another
request. Raises UsageError.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import UsageError, nearest
from forkpolicy.history.logged_request import PastRequest
from forkpolicy.protocol.attributes import ATTRIBUTES, OTHER_NAMES, STATES
from forkpolicy.protocol.request import REQUEST_NAME

if TYPE_CHECKING:
    from collections.abc import Collection

MAIL_ADDRESSES: Final = frozenset({"sender", "recipient", "sasl_sender"})
IP_ADDRESSES: Final = frozenset({"client_address", "server_address"})
NUMBERS: Final = frozenset({"size", "recipient_count", "encryption_keysize", "client_port", "server_port"})
# What Postfix sends for a client that it does not know (XCLIENT).
UNKNOWN_CLIENT: Final = "unknown"
NO_REQUEST: Final = "this line has no request: expected a decision of forkpolicy's log, or a reject line of Postfix"
USUAL: Final = {"request": REQUEST_NAME, "protocol_state": "RCPT", "protocol_name": "ESMTP"}


def request_of(words: list[str], read_by_policy: Collection[str]) -> PastRequest:
    """The request of `name=value` words, or of one word that is a line of a log. `read_by_policy`: attributes that
    may be given although no known Postfix sends them.
    """
    if len(words) == 1:
        from forkpolicy.history.log_lines import read_line  # noqa: PLC0415 - attributes need none of it

        line = read_line(words[0].encode("utf-8", "surrogateescape"))
        if line.attributes:
            return PastRequest(None, line.attributes, line.time)
        if _is_line(words[0]):
            raise UsageError(f'"{words[0]}": {NO_REQUEST}')
    attributes: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            expected = "expected attributes as in sender=user@example.com, a line of a log, or the name of a file alone"
            raise UsageError(f'"{word}": {expected}')
        wrong = _name_mistake(name, read_by_policy) or _value_mistake(name, value)
        if wrong or name in attributes:
            raise UsageError(f'"{word}": {wrong or f"{name} is given twice"}')
        attributes[name] = value
    return PastRequest(None, {**USUAL, **attributes})


def _is_line(word: str) -> bool:
    """Whether it is a line of some log: no attribute's name has a blank or a brace, and ours begin with the time."""
    name = word.partition("=")[0]
    return name == "time" or not {" ", "{"}.isdisjoint(name)


def _name_mistake(name: str, read_by_policy: Collection[str]) -> str:
    if name in ATTRIBUTES or name in read_by_policy:
        return ""
    near = OTHER_NAMES.get(name.lower()) or nearest(name, ATTRIBUTES)
    hint = f'did you mean "{near}"?' if near else f"known are {', '.join(ATTRIBUTES)}"
    return f'neither Postfix nor the policy has an attribute "{name}": {hint}'


def _value_mistake(name: str, value: str) -> str:
    if value.startswith("<"):
        return f"without angle brackets, as Postfix sends it: {name}={value.strip('<>')}"
    if name == "protocol_state" and value and value not in STATES:
        is_folded = value.upper() in STATES
        return f'did you mean "{value.upper()}"?' if is_folded else f"expected one of {', '.join(STATES)}"
    if name in IP_ADDRESSES and value not in ("", UNKNOWN_CLIENT):
        return _ip_mistake(value)
    if name in NUMBERS and value and not (value.isascii() and value.isdigit()):
        return "expected a number, as Postfix sends it"
    if name in MAIL_ADDRESSES:
        return _address_mistake(value)
    return ""


def _ip_mistake(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        bare = value.strip("[]")
        return f"without brackets: {bare}" if bare != value else f'"{value}" is not a valid IP address'
    return ""


def _address_mistake(value: str) -> str:
    if value.startswith("@"):
        return f'"{value}" is not a mail address but a pattern: expected a whole one such as user{value}'
    if value.endswith("@") or any(character in value for character in ",;"):
        return f'"{value}" is not a valid mail address: expected one such as user@example.com'
    return ""
