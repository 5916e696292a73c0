"""DNS messages as a name server reads and writes them (RFC 1035): questions in, replies out, whole or not.

Written out by hand, so that replies can be wrong in the ways that real ones are. Pure.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

TYPES: Final = {"A": 1, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
NUMBERS: Final = {number: name for name, number in TYPES.items()}
OPT: Final = 41
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, REFUSED = 0, 1, 2, 3, 5
# QR, RD and RA; TC besides for a truncated reply.
FLAGS: Final = 0x8180
TRUNCATED: Final = 0x0200
HEADER: Final = struct.Struct("!6H")


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked. `raw`: the question section as it came; `number`: it was asked so often by now."""

    id: int
    name: str
    rrtype: str
    raw: bytes
    has_edns: bool
    by_tcp: bool
    number: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a reply. `name`: the owner, the question's where it is empty. `data`: as TYPE_DATA takes it."""

    rrtype: str
    data: str | bytes
    ttl_s: int = 300
    name: str = ""


def parse(message: bytes, *, by_tcp: bool) -> Question | None:
    """The question of a message; None for what is none."""
    if len(message) < HEADER.size:
        return None
    number, flags, questions, _, _, additional = HEADER.unpack_from(message)
    if flags & 0x8000 or questions != 1:
        return None
    at, labels = HEADER.size, []
    while at < len(message) and message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode("latin-1"))
        at += 1 + message[at]
    if at + 5 > len(message):
        return None
    rrtype = int.from_bytes(message[at + 1 : at + 3], "big")
    return Question(
        number,
        ".".join(labels).lower(),
        NUMBERS.get(rrtype, str(rrtype)),
        message[HEADER.size : at + 5],
        has_edns=additional > 0,
        by_tcp=by_tcp,
    )


def wire_name(name: str) -> bytes:
    """A name without compression."""
    labels = [label.encode("latin-1") for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def wire_data(record: Record) -> bytes:
    """The data of a record: an address, a name, `10 mail.example.com` for MX, the text of TXT in strings of 255."""
    data = record.data
    if record.rrtype in ("A", "AAAA"):
        return ipaddress.ip_address(str(data)).packed
    if record.rrtype == "MX":
        preference, name = str(data).split()
        return struct.pack("!H", int(preference)) + wire_name(name)
    if record.rrtype == "TXT":
        text = data if isinstance(data, bytes) else data.encode()
        parts = [text[start : start + 255] for start in range(0, len(text), 255)] or [b""]
        return b"".join(bytes([len(part)]) + part for part in parts)
    if record.rrtype == "SOA":
        return wire_name("ns." + str(data)) + wire_name("root." + str(data)) + struct.pack("!5I", 1, 60, 60, 600, 300)
    return wire_name(str(data))


def wire_record(record: Record) -> bytes:
    """A whole record; its owner points at the question's name where it has no own."""
    owner = wire_name(record.name) if record.name else b"\xc0\x0c"
    data = wire_data(record)
    return owner + struct.pack("!HHIH", TYPES[record.rrtype], 1, record.ttl_s, len(data)) + data


def reply(
    question: Question,
    answer: tuple[Record, ...] = (),
    *,
    rcode: int = NOERROR,
    authority: tuple[Record, ...] = (),
    truncated: bool = False,
    other_id: bool = False,
    asked: bytes = b"",
) -> bytes:
    """A reply. `other_id`: with an id that was not asked for; `asked`: another question section than the one asked."""
    flags = FLAGS | rcode | (TRUNCATED if truncated else 0)
    head = HEADER.pack(question.id ^ other_id, flags, 1, len(answer), len(authority), 0)
    return head + (asked or question.raw) + b"".join(wire_record(each) for each in (*answer, *authority))
