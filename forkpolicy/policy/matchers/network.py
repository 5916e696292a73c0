"""`client_address`, `server_address`: `a`, `a/len`, `a/dotted.mask`, `a-b`: one binary search whatever their number."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.guards import Networks
from forkpolicy.policy.matchers.matcher import Finding, Matcher
from forkpolicy.policy.matchers.values import AttributeType
from forkpolicy.tables.keys import IpRange, ip_key, ip_text, parse_network_spec
from forkpolicy.tables.kinds.kind import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.extent import Span
    from forkpolicy.policy.matchers.guards import Guard
    from forkpolicy.policy.nodes import Word


class NetworkMatcher(Matcher):
    """Ranges of addresses. A value that is not an address (`unknown`) is in none of them."""

    def __init__(self, attribute: str, ranges: list[tuple[IpRange, Word]]) -> None:
        self.attributes = (attribute,)
        self.ranges = ranges
        merged = _merge([each for each, _ in ranges])
        self._firsts = [first for first, _ in merged]
        self._lasts = [last for _, last in merged]

    def holds(self, *values: str) -> bool:
        """Whether the address is in one of the ranges."""
        key = ip_key(values[0])
        if key is None:
            return False
        at = bisect_left(self._lasts, key)
        return at < len(self._lasts) and self._firsts[at] <= key

    def find(self, *values: str) -> Finding | None:
        """The first range, in the order of the policy, that has the address."""
        key = ip_key(values[0])
        if key is None:
            return None
        word = next((word for (first, last), word in self.ranges if first <= key <= last), None)
        return Finding(word.text, word.place) if word else None

    def guard(self) -> Guard:
        """Its ranges."""
        return Networks(self.attributes[0], [span for span, _ in self.ranges])

    def covers(self) -> Extent:
        """Its ranges, as numbers of a family."""
        (name,) = self.attributes
        spans = frozenset(
            (f"{name} {first[:1].decode()}", _number(first), _number(last)) for (first, last), _ in self.ranges
        )
        return Extent(spans=spans, space=name, around=_networks_around)

    def warnings(self) -> Iterator[Diagnostic]:
        """Networks that stand in the list twice, or within another one."""
        widest: tuple[bytes, Word] | None = None
        for (first, last), word in sorted(self.ranges, key=lambda each: (each[0][0], _descending(each[0][1]))):
            if widest and last <= widest[0] and first[:1] == widest[0][:1]:
                if word is not widest[1]:
                    yield word.warning(_twice(word, widest[1]))
            else:
                widest = (last, word)


def network_matcher(name: str, words: list[Word], context: BuildContext) -> Matcher:
    """Addresses, networks and ranges."""
    parsed = context.parsed(words, parse_network_spec)
    return NetworkMatcher(name, [(span, word) for spans, word in parsed for span in spans])


def _merge(ranges: list[IpRange]) -> list[IpRange]:
    """The same addresses as disjoint ranges in order. Keys of the two families never overlap: they differ in byte
    one.
    """
    merged: list[IpRange] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _number(key: bytes) -> int:
    return int.from_bytes(key[1:], "big")


def _networks_around(span: Span) -> Iterator[Span]:
    """Every network that has this one; a range of a policy that is not a network is not found."""
    kind, low, high = span[0], int(span[1]), int(span[2])
    yield span
    for bits in range((low ^ high).bit_length(), (32 if kind.endswith(" 4") else 128) + 1):
        start = low >> bits << bits
        yield (kind, start, start | (1 << bits) - 1)


def _twice(word: Word, wide: Word) -> str:
    if word.text == wide.text:
        return f"{word.text} stands in this list twice"
    return f"{word.text} is part of {wide.text} in the same list: one of them is enough"


def _descending(key: bytes) -> bytes:
    return bytes(255 - each for each in key)


def _folded(text: str) -> str:
    key = ip_key(text)
    return ip_text(key) if key else text.casefold()


TYPE = AttributeType(Subject.MACHINE, network_matcher, _folded, has_expressions=False).acl_type
