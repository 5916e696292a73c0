"""Exceptions that would let in what one decision has refused, from the narrowest to the widest.

Each is text for the policy. An exception until a date ends by itself: its first day is long past, so that what it would
have done can be seen. Values are those that the policy sees, and stand there as the language wants them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from forkpolicy.tables.keys import ip_key, network_text, split_address
from forkpolicy.tables.names import parse_address_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.policy.policy import Policy

# No history begins before it.
_BEGIN: Final = "2000-01-01"
# A network that is likely to have one owner.
_LENGTHS: Final = {b"4": 24, b"6": 64}
_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9@._+=-]+").fullmatch
_IN_EXPRESSION: Final = re.compile(r"[A-Za-z0-9@_=-]").fullmatch


class Proposal(NamedTuple):
    """`summary`: whom it lets in; `text`: its statements, a line each; `until`: the last day, empty where it stays."""

    summary: str
    text: str
    until: str = ""


def proposals_of(policy: Policy, attributes: Mapping[str, str], name: str, until: str) -> list[Proposal]:
    """Of one request. `name`: what the names of ACLs and actions begin with; `until`: the last day, as 2026-12-31."""
    values = policy.understood(wanted_values(Request(dict(attributes), None), policy.wanted))
    seen = dict(zip(policy.wanted, values, strict=True))
    found = []
    for summary, terms in _narrow_to_wide(seen):
        lines = [f"acl {name}_{type_name} {type_name} {value}" for type_name, value in terms]
        names = [f"{name}_{type_name}" for type_name, _ in terms]
        action, date = f"action {name}_let_in DUNNO", f"acl {name}_until date {_BEGIN}..{until}"
        found.append(Proposal(summary, _text(*lines, action, f"access {' '.join(names)} {name}_let_in")))
        rule = f"access {' '.join(names)} {name}_until {name}_let_in"
        found.append(Proposal(summary, _text(*lines, date, action, rule), until))
    return found


def free_name(policy: Policy, wanted: str) -> str:
    """That one, or one with a number behind it: no name of the policy begins with it."""
    taken = [*policy.model.acls, *policy.model.actions]
    name, number = wanted, 1
    while any(each.startswith(name) for each in taken):
        number += 1
        name = f"{wanted}_{number}"
    return name


def _narrow_to_wide(seen: Mapping[str, str | None]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    sender, recipient = _address(seen.get("sender")), _address(seen.get("recipient"))
    client = ip_key(seen.get("client_address") or "")
    is_known = (seen.get("protocol_state") or "") not in {"CONNECT", "EHLO", "HELO"}
    who = [("sender", sender)] if is_known and sender else []
    if who and recipient:
        yield "this sender to this recipient", [*who, ("recipient", recipient)]
    if client:
        address, network = (_network(client, length) for length in (128, _LENGTHS[client[:1]]))
        if who:
            yield "this sender from this client", [*who, ("client_address", address)]
        yield "this client network, whatever the sender", [("client_address", network)]
    domain = split_address(seen.get("sender") or "")[1]
    if who and domain and _PLAIN_VALUE(domain):
        yield "this sender domain, from anywhere", [("sender", f"@{domain}")]


def _network(key: bytes, length: int) -> str:
    return network_text(key, min(length, 8 * (len(key) - 1)))


def _address(address: str | None) -> str:
    """An address as a value: a pattern where it has the form of one, else an expression; empty where it is in neither
    form, or not known.
    """
    if address is None:
        return ""
    if not address:
        return "<>"
    if _PLAIN_VALUE(address):
        try:
            parse_address_pattern(address)
        except ValueError:
            pass
        else:
            return address if "@" in address else ""
    if not address.isprintable():
        return ""
    escaped = "".join(char if _IN_EXPRESSION(char) or ord(char) > 127 else f"\\x{ord(char):02x}" for char in address)
    return f"/^{escaped}$/"


def _text(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)
