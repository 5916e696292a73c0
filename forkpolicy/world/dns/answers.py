"""Answers of the DNS, and what the records of a reply mean for the name that was asked. Pure.

A reply is for a name only if its records are the name's own, or those of the name that its CNAMEs lead to: c-ares hands
over whatever records came.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RrType = Literal["A", "AAAA", "MX", "PTR", "TXT"]
Record = str | bytes | tuple[int, str]
"""A and AAAA: the address as text; PTR: the name; TXT: its strings joined, as bytes; MX: preference and name."""

# Records are kept so long: one that changes each second is asked once a minute, one for weeks once an hour.
LEAST_TTL_S: Final = 60
MOST_TTL_S: Final = 3600
# How long a name is known not to be there: c-ares does not hand over the SOA record that would say it.
NEGATIVE_TTL_S: Final = 60
# A server that failed is left alone so long, and not by every request that comes meanwhile.
FAILED_TTL_S: Final = 5
LONGEST_CHAIN: Final = 16


class Status(Enum):
    """What became of a question. The values are labels of metrics."""

    OK = "ok"
    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the DNS says of a name. `records`: of the type asked for, none unless OK. `ttl_s`: how long it may be kept.
    `reason`: why it has failed, for people.
    """

    status: Status
    records: tuple[Record, ...] = ()
    ttl_s: int = NEGATIVE_TTL_S
    reason: str = ""

    @property
    def failed(self) -> bool:
        """Whether nothing is known."""
        return self.status is Status.FAILED


NXDOMAIN: Final = Answer(Status.NXDOMAIN)
NODATA: Final = Answer(Status.NODATA)


class Found(NamedTuple):
    """One record of a reply, CNAME included. `name`: its owner, `data`: a CNAME's is the name it leads to."""

    name: str
    rrtype: str
    ttl_s: int
    data: Record


def failure(reason: str) -> Answer:
    """Nothing is known, and why."""
    return Answer(Status.FAILED, ttl_s=FAILED_TTL_S, reason=reason)


def read(name: str, rrtype: str, reply: Iterable[Found]) -> Answer:
    """What a reply with records says of `name`."""
    every = [(_folded(each.name), each) for each in reply]
    # A name has one CNAME record at most (RFC 2181, section 10.1); of more the last counts.
    aliases = {owner: each for owner, each in every if each.rrtype == "CNAME"}
    last, ttl_s = _end_of_chain(_folded(name), aliases)
    if last is None:
        return failure("its CNAME records lead in a circle or too far")
    own = [each for owner, each in every if owner == last and each.rrtype == rrtype]
    if own:
        ttl_s = min(ttl_s, *(each.ttl_s for each in own))
        return Answer(Status.OK, tuple(each.data for each in own), max(LEAST_TTL_S, min(ttl_s, MOST_TTL_S)))
    if last != _folded(name):
        return NODATA
    return failure("the answer was for another name")


def _end_of_chain(name: str, aliases: Mapping[str, Found]) -> tuple[str | None, int]:
    """The name that the CNAMEs lead to, None for one that they never reach, and the lowest TTL on the way."""
    ttl_s = MOST_TTL_S
    for _ in range(LONGEST_CHAIN):
        alias = aliases.get(name)
        if alias is None:
            return name, ttl_s
        name, ttl_s = _folded(str(alias.data)), min(ttl_s, alias.ttl_s)
    return None, ttl_s


def _folded(name: str) -> str:
    return name.rstrip(".").lower()
