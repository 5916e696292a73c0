"""The indexes: for the values of a request, the rules whose guard may hold.

One dict an attribute for exact values, one dict and one binary search for networks, one RE2 set for expressions, one
question for a matcher that must be asked, and one with a dict of the entry's values for a table. A probe may name a
rule too many, never one too few.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.guards import AskOnce, EntryValues, Exact, Expressions, Networks
from forkpolicy.policy.matchers.regex import RegexMatcher
from forkpolicy.tables.keys import ip_key

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from forkpolicy.policy.matchers.guards import Lister
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.nodes import Word
    from forkpolicy.policy.plan.index import Guarded
    from forkpolicy.tables.keys import IpRange

Numbers = tuple[int, ...]
Probe = Callable[..., Iterable[int]]
"""Takes the values of its attributes as policies see them; the numbers of rules, in any order. Raises what a matcher
raises. A closure, since it is called for every request."""
NONE: Numbers = ()


def probe_of(group: Sequence[Guarded]) -> tuple[tuple[str, ...], Probe]:
    """The index of guards of one kind that belong together, and the attributes that it looks at."""
    match group[0].guard:
        case Exact(name, _, lister):
            exact = [(guard.keys, number) for guard, number, _ in group if isinstance(guard, Exact)]
            return (name,), _exact(lister, exact)
        case Networks(name, _):
            networks = [(guard.ranges, number) for guard, number, _ in group if isinstance(guard, Networks)]
            return (name,), _networks(networks)
        case Expressions(name, _):
            expressions = [(guard.words, number) for guard, number, _ in group if isinstance(guard, Expressions)]
            return (name,), _expressions(name, expressions)
        case AskOnce(matcher):
            return matcher.attributes, _ask_once(matcher, tuple(each.number for each in group))
        case EntryValues(asked, value_of):
            entries = [(guard.keys, number) for guard, number, _ in group if isinstance(guard, EntryValues)]
            return asked.attributes, _entry_values(asked.raw, value_of, entries)


def skips_empty(group: Sequence[Guarded], probe: Probe) -> bool:
    """Whether nothing can be found for an attribute without a value, as the login of most mail is."""
    return not isinstance(group[0].guard, AskOnce | EntryValues) and not probe("")


def _exact(lister: Lister, guarded: Iterable[tuple[Collection[str], int]]) -> Probe:
    """All exact values of one attribute: a dict."""
    numbers: dict[str, list[int]] = {}
    for keys, number in guarded:
        for key in keys:
            numbers.setdefault(key, []).append(number)
    keys_of = lister(numbers)
    found = {key: tuple(several) for key, several in numbers.items()}.get

    def probe(value: str) -> Numbers:
        hits = NONE
        for key in keys_of(value):
            if more := found(key):
                hits = hits + more if hits else more
        return hits

    return probe


def _networks(guarded: Iterable[tuple[Sequence[IpRange], int]]) -> Probe:
    """All networks of one attribute: single addresses in a dict, the rest as disjoint spans."""
    single: dict[bytes, list[int]] = {}
    wide = []
    for ranges, number in guarded:
        for first, last in ranges:
            if first == last:
                single.setdefault(first, []).append(number)
            else:
                wide.append((first, last, number))
    alone = {key: tuple(several) for key, several in single.items()}.get
    firsts, lasts, numbers = _disjoint(wide)
    spans = len(lasts)

    def probe(value: str) -> Numbers:
        key = ip_key(value)
        if key is None:
            return NONE
        found = alone(key, NONE)
        at = bisect_left(lasts, key)
        if at < spans and firsts[at] <= key:
            return found + numbers[at] if found else numbers[at]
        return found

    return probe


def _expressions(name: str, guarded: Sequence[tuple[Sequence[Word], int]]) -> Probe:
    """All expressions of one attribute: one set."""
    matching = RegexMatcher(name, [word for words, _ in guarded for word in words]).remembered
    numbers = [number for words, number in guarded for _ in words]

    def probe(value: str) -> list[int]:
        return [numbers[at] for at in matching(value)]

    return probe


def _ask_once(matcher: Matcher, numbers: Numbers) -> Probe:
    """One matcher: asked once, for all rules that it guards."""
    holds = matcher.holds
    return lambda *values: numbers if holds(*values) else NONE


def _entry_values(
    ask: Callable[..., bytes | None],
    value_of: Callable[[bytes], str],
    guarded: Iterable[tuple[Collection[str] | None, int]],
) -> Probe:
    """All values that are wanted of the entries of one table: asked once, then a dict."""
    numbers: dict[str, list[int]] = {}
    of_any: list[int] = []
    for keys, number in guarded:
        if keys is None:
            of_any.append(number)
        for key in keys or ():
            numbers.setdefault(key, []).append(number)
    found, always = {key: (*several, *of_any) for key, several in numbers.items()}.get, tuple(of_any)

    def probe(*values: str) -> Numbers:
        raw = ask(*values)
        return NONE if raw is None else found(value_of(raw), always)

    return probe


def _disjoint(spans: list[tuple[bytes, bytes, int]]) -> tuple[list[bytes], list[bytes], list[tuple[int, ...]]]:
    """Overlapping spans as disjoint ones in order, each with the numbers of all spans that cover it."""
    opens: dict[bytes, list[int]] = {}
    closes: dict[bytes, list[int]] = {}
    for first, last, number in spans:
        opens.setdefault(first, []).append(number)
        closes.setdefault(_after(last), []).append(number)
    firsts: list[bytes] = []
    lasts: list[bytes] = []
    numbers: list[tuple[int, ...]] = []
    covering: list[int] = []
    edges = sorted({*opens, *closes})
    for edge, following in pairwise(edges):
        for number in closes.get(edge, ()):
            covering.remove(number)
        covering += opens.get(edge, ())
        if covering:
            firsts.append(edge)
            lasts.append(_before(following))
            numbers.append(tuple(sorted(set(covering))))
    return firsts, lasts, numbers


# The address after the last of a family is the first byte string behind it: keys are compared, never shown.
def _after(key: bytes) -> bytes:
    number = int.from_bytes(key, "big") + 1
    return number.to_bytes(len(key), "big")


def _before(key: bytes) -> bytes:
    return (int.from_bytes(key, "big") - 1).to_bytes(len(key), "big")
