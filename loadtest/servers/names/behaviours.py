"""What a name server does with a question: small functions that can be combined, from "has this record" to "lies".

A behaviour takes a Question and returns what is sent: messages, each after a delay. `late(3, has(...))` answers after
three seconds. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from loadtest.servers.names.messages import (
    FORMERR,
    HEADER,
    NXDOMAIN,
    Record,
    reply,
    wire_name,
)

if TYPE_CHECKING:
    from loadtest.servers.names.messages import Question


class Sent(NamedTuple):
    """One message, `delay_s` after its question."""

    delay_s: float
    message: bytes


Behaviour = Callable[["Question"], list[Sent]]


def _now(message: bytes) -> list[Sent]:
    return [Sent(0, message)]


def has(*records: Record) -> Behaviour:
    """These records, those of the type asked for; none of that type: NODATA. A CNAME answers every type."""

    def behave(question: Question) -> list[Sent]:
        wanted = tuple(each for each in records if each.rrtype in (question.rrtype, "CNAME"))
        return _now(reply(question, wanted))

    return behave


def listed(code: str = "127.0.0.2", text: str = "listed", ttl_s: int = 300) -> Behaviour:
    """An entry of a DNS list: an address, and its text."""
    return has(Record("A", code, ttl_s), Record("TXT", text, ttl_s))


def sends(*records: Record) -> Behaviour:
    """These records, whatever is asked for: an answer to another question, a loop."""
    return lambda question: _now(reply(question, records))


def nxdomain(soa: str = "") -> Behaviour:
    """No such name; with the zone's SOA record where `soa` names one."""
    authority = (Record("SOA", soa, name=soa),) if soa else ()
    return lambda question: _now(reply(question, rcode=NXDOMAIN, authority=authority))


def fails(rcode: int) -> Behaviour:
    """SERVFAIL, REFUSED."""
    return lambda question: _now(reply(question, rcode=rcode))


def formerr_to_edns(then: Behaviour) -> Behaviour:
    """An old server that does not understand EDNS."""
    return lambda question: _now(reply(question, rcode=FORMERR)) if question.has_edns else then(question)


def truncated(then: Behaviour) -> Behaviour:
    """By UDP nothing but the word that TCP has it."""
    return lambda question: then(question) if question.by_tcp else _now(reply(question, truncated=True))


def malformed() -> Behaviour:
    """A reply that promises a record and ends in the middle of it."""
    return lambda question: _now(reply(question, (Record("A", "127.0.0.2"),))[:-6])


def malformed_first(then: Behaviour) -> Behaviour:
    """Malformed for the first time that it is asked, and right from then on."""
    return lambda question: (malformed() if question.number == 1 else then)(question)


def not_mine_first(then: Behaviour, address: str = "127.0.0.9") -> Behaviour:
    """Three replies that do not fit (another id, another name, another type asked), then what is right."""

    def behave(question: Question) -> list[Sent]:
        lie = (Record("A", address),)
        other_name = wire_name("other.example.net") + question.raw[-4:]
        other_type = question.raw[:-4] + b"\0\x0d" + question.raw[-2:]
        wrong = [
            reply(question, lie, other_id=True),
            reply(question, lie, asked=other_name),
            reply(question, lie, asked=other_type),
        ]
        return [*(Sent(0, each) for each in wrong), *late(0.05, then)(question)]

    return behave


def late(seconds: float, then: Behaviour) -> Behaviour:
    """The same, later."""
    return lambda question: [Sent(each.delay_s + seconds, each.message) for each in then(question)]


def never() -> Behaviour:
    """Nothing at all."""
    return lambda _question: []


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other, the last from then on."""
    return lambda question: behaviours[min(question.number, len(behaviours)) - 1](question)


def only_header() -> Behaviour:
    """A reply that is shorter than a header."""
    return lambda question: _now(reply(question)[: HEADER.size - 2])
