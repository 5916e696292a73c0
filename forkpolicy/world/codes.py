"""The addresses by which a DNS list says that it has an entry: which of them an ACL takes for a listing, and which are
never one, whatever the list means by them. Pure.
"""

from __future__ import annotations

import socket
from typing import Final, NamedTuple

OCTETS: Final = 4
_NEVER: Final = frozenset({b"\x7f\0\0\1", b"\x7f\0\0\xff"})
# What Spamhaus and others answer whom they do not want to answer: a public resolver, one that has asked too often.
_ERRORS: Final = b"\x7f\xff\xff"
_BLOCKED: Final = b"\x7f\0\0\xff"


class Octet(NamedTuple):
    """A number, a range of them, or all of them."""

    low: int
    high: int


Code = tuple[Octet, ...]
"""Four octets."""


def parse_codes(text: str) -> tuple[Code, ...]:
    """Codes with commas between them, such as `127.0.0.2-11,127.0.1.*`. Raises ValueError."""
    return tuple(_parse_code(each) for each in text.split(","))


def is_counted(address: str, codes: tuple[Code, ...]) -> bool:
    """Whether an address in an answer is a listing: one of `codes`, or any code at all where there are none."""
    packed = _packed(address)
    if not _may_be_listing(packed):
        return False
    return not codes or any(_fits(packed, code) for code in codes)


def is_code(address: str) -> bool:
    """Whether an address may be the code of a listing."""
    return _may_be_listing(_packed(address))


def is_error(address: str) -> bool:
    """Whether a list says by this address that it does not answer."""
    packed = _packed(address)
    return packed[:3] == _ERRORS or packed == _BLOCKED


def _packed(address: str) -> bytes:
    try:
        return socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        return b""


def _may_be_listing(packed: bytes) -> bool:
    return packed[:1] == b"\x7f" and packed not in _NEVER and packed[:3] != _ERRORS


def _fits(packed: bytes, code: Code) -> bool:
    return all(octet.low <= each <= octet.high for each, octet in zip(packed, code, strict=True))


def _parse_code(text: str) -> Code:
    octets = text.split(".")
    if len(octets) != OCTETS:
        raise ValueError(f'"{text}" is not a valid code: expected one such as 127.0.0.2, 127.0.0.2-11 or 127.0.1.*')
    code = tuple(_parse_octet(octet, text) for octet in octets)
    if not code[0].low <= 127 <= code[0].high:
        raise ValueError(f'"{text}" is not a valid code: the addresses of a listing begin with 127')
    singles = bytes(octet.low for octet in code)
    if all(octet.low == octet.high for octet in code) and not _may_be_listing(singles):
        raise ValueError(f'"{text}" is never a listing: lists say by it that they do not answer, or that they close')
    return code


def _parse_octet(octet: str, code: str) -> Octet:
    if octet == "*":
        return Octet(0, 255)
    low, dash, high = octet.partition("-")
    ends = [_number(low), _number(high) if dash else _number(low)]
    if None in ends:
        raise ValueError(f'"{octet}" in "{code}" is not a number from 0 to 255, a range such as 2-11, or *')
    first, last = int(ends[0] or 0), int(ends[1] or 0)
    if first > last:
        raise ValueError(f'"{octet}" in "{code}" is reversed: did you mean {last}-{first}?')
    return Octet(first, last)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255 else None
