"""cidr_table(5), where the first match wins, as networks of which the most specific wins. Pure.

Two networks are nested or apart. Of a rule behind one that contains it, Postfix sees nothing: it is dropped. What is
left means the same in any order, and so does a network within an `if`, which is one network again. With `!` that is
not so: those tables are flattened into ranges that do not overlap.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.access.map_files import UncarriedError
from forkpolicy.tables import keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from forkpolicy.importing.access.pattern_lines import Pattern, Rule
    from forkpolicy.tables.keys import IpRange

_WHOLE: Final = {b"4": (0, (1 << 32) - 1), b"6": (0, (1 << 128) - 1)}
_LENGTH: Final = re.compile(r"[^/]+(?:/\d+)?", re.ASCII)
_MAX_FLATTENED: Final = 2000

# First and last number of a family.
Span = tuple[int, int]


class Network(NamedTuple):
    """A network with the rule that decides for it."""

    text: str
    rule: Rule


def parse_pattern(text: str) -> IpRange:
    """First and last address. Raises ValueError for what Postfix skips, or never compares with an address."""
    if re.search(r"(?:^|\.)0\d", text):
        raise UncarriedError(f"{text}: a number with a zero in front, which is octal for Postfix")
    if not _LENGTH.fullmatch(text):
        raise ValueError("expected address/length")
    first, last = keys.parse_network(text, allow_wide=True)
    if ":" in text and first[:1] == b"4":
        raise ValueError("a client with this address has an IPv4 address for Postfix")
    return first, last


def most_specific(rules: Sequence[Rule]) -> tuple[list[Network], list[tuple[Rule, str]]]:
    """The networks, and the rules that never decide, each with the reason. Raises ValueError for too many with `!`."""
    if any(pattern.negated for rule in rules for pattern in (rule.pattern, *rule.conditions)):
        if len(rules) > _MAX_FLATTENED:
            raise ValueError(f"more than {_MAX_FLATTENED} rules, some with !")
        return _flattened(rules)
    return _nested(rules)


def _nested(rules: Sequence[Rule]) -> tuple[list[Network], list[tuple[Rule, str]]]:
    seen: dict[IpRange, Rule] = {}
    lengths: set[tuple[bytes, int]] = set()
    found: list[Network] = []
    dead: list[tuple[Rule, str]] = []
    for rule in rules:
        try:
            network = _intersection([parse_pattern(each.text) for each in (*rule.conditions, rule.pattern)])
        except UncarriedError:
            raise
        except ValueError as error:
            dead.append((rule, str(error)))
            continue
        if network is None:
            dead.append((rule, "no address of it meets the conditions around it"))
            continue
        above = next((seen[each] for each in _above(network, lengths) if each in seen), None)
        if above:
            dead.append((rule, f"{above.origin} contains it and comes first"))
            continue
        seen[network] = rule
        lengths.add((network[0][:1], keys.prefix_length(*network)))
        found.append(Network(keys.range_text(*network), rule))
    return found, dead


def _intersection(networks: Iterable[IpRange]) -> IpRange | None:
    """The smallest of networks that contain each other; None where two are apart."""
    smallest: IpRange | None = None
    for first, last in networks:
        if smallest is None or (smallest[0] <= first and last <= smallest[1] and first[:1] == smallest[0][:1]):
            smallest = first, last
        elif not (first <= smallest[0] and smallest[1] <= last and first[:1] == smallest[0][:1]):
            return None
    return smallest


def _above(network: IpRange, lengths: Iterable[tuple[bytes, int]]) -> Iterator[IpRange]:
    """The networks of these lengths that contain it, itself included."""
    family, size = network[0][:1], len(network[0]) - 1
    number, length = int.from_bytes(network[0][1:], "big"), keys.prefix_length(*network)
    for other_family, other in lengths:
        if other_family == family and other <= length:
            hosts = (1 << (8 * size - other)) - 1
            yield (
                family + (number & ~hosts).to_bytes(size, "big"),
                family + (number | hosts).to_bytes(size, "big"),
            )


def _flattened(rules: Sequence[Rule]) -> tuple[list[Network], list[tuple[Rule, str]]]:
    taken: dict[bytes, list[Span]] = {b"4": [], b"6": []}
    found: list[Network] = []
    dead: list[tuple[Rule, str]] = []
    for rule in rules:
        try:
            family, spans = _spans(rule)
        except UncarriedError:
            raise
        except ValueError as error:
            dead.append((rule, str(error)))
            continue
        left = _without(spans, taken[family])
        if not left:
            dead.append((rule, "what stands before it has all of its addresses"))
        taken[family] = _merged([*taken[family], *left])
        size = 4 if family == b"4" else 16
        for low, high in left:
            ends = family + low.to_bytes(size, "big"), family + high.to_bytes(size, "big")
            found += [Network(keys.range_text(*each), rule) for each in keys.split_range(*ends)]
    return found, dead


def _spans(rule: Rule) -> tuple[bytes, list[Span]]:
    """The family of a rule, and its addresses."""
    family, spans = b"", [(0, 0)]
    for pattern in (*rule.conditions, rule.pattern):
        own, span = _span(pattern)
        whole = _WHOLE[own]
        inside = _without([whole], [span]) if pattern.negated else [span]
        if family and own != family:
            return family, []
        spans = inside if not family else _without(spans, _without([whole], inside))
        family = own
    return family, spans


def _span(pattern: Pattern) -> tuple[bytes, Span]:
    first, last = parse_pattern(pattern.text)
    return first[:1], (int.from_bytes(first[1:], "big"), int.from_bytes(last[1:], "big"))


def _without(spans: Iterable[Span], taken: Sequence[Span]) -> list[Span]:
    """The parts of spans that are in none of `taken`, which are apart and in order."""
    left: list[Span] = []
    ends = [high for _, high in taken]
    for begin, end in spans:
        low = begin
        for at in range(bisect_left(ends, low), len(taken)):
            first, last = taken[at]
            if first > end:
                break
            if low < first:
                left.append((low, first - 1))
            low = last + 1
        if low <= end:
            left.append((low, end))
    return left


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return merged
