"""Which ACLs cover which: whatever makes the narrow one hold makes the wide one hold too.

An ACL is seen as a set of atoms, one of which is enough: an address pattern, a network, an interval of numbers, or a
value that is compared with itself only (an expression, a table, a time of day). `check` asks this about lines that
can never fire; it is exact where it says yes, and says no where nobody can tell (an expression against a name). One
index for all ACLs, so that ten thousand of them cost a look-up each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.clock import ClockMatcher
from forkpolicy.policy.matchers.exact import OneKeyMatcher, SeveralKeysMatcher
from forkpolicy.policy.matchers.network import NetworkMatcher
from forkpolicy.policy.matchers.number import NumberMatcher
from forkpolicy.policy.matchers.present import PresentMatcher
from forkpolicy.policy.matchers.table import TableMatcher
from forkpolicy.policy.matchers.types import ADDRESSES, HOSTS
from forkpolicy.tables.keys import NULL_SENDER, address_keys, parent_keys

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.model import Acl

Atom = tuple[str, "Hashable"]
"""What kind of value (an attribute, for plain values of it) and which."""
Span = tuple[str, float | int, float | int]

# More values than these in both of two ACLs, and nobody compares them one by one.
FEW = 64
# ACLs that share every value with that many others are left alone: nobody wrote them by hand.
MANY = 256


@dataclass(frozen=True, slots=True)
class Coverage:
    """One ACL. `plain`: nothing but values that are compared whole, so that two may be found to exclude each other."""

    attributes: frozenset[str]
    atoms: frozenset[Atom]
    spans: frozenset[Span]
    plain: bool

    @property
    def identity(self) -> tuple[frozenset[str], frozenset[Atom], frozenset[Span]]:
        """Equal for ACLs that mean the same, whatever they are called."""
        return (self.attributes, self.atoms, self.spans)


@dataclass
class Covering:
    """All ACLs of a policy. `delimiter`: Postfix's recipient_delimiter."""

    delimiter: str
    _known: dict[int, Coverage] = field(default_factory=dict)
    _by_atom: dict[Atom, list[int]] = field(default_factory=dict)
    _by_span: dict[str, dict[Span, list[int]]] = field(default_factory=dict)
    _numbers: dict[Hashable, int] = field(default_factory=dict)
    _wider: dict[int, frozenset[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, acls: Iterable[Acl], delimiter: str) -> Covering:
        """Take every ACL in, so that `wider` knows them all."""
        covering = cls(delimiter)
        for acl in acls:
            covering._add(acl)
        return covering

    def number(self, acl: Acl) -> int:
        """The same number for ACLs that mean the same."""
        return self._numbers[self._known[acl.number].identity]

    def wider(self, acl: Acl) -> frozenset[int]:
        """The numbers of all ACLs that hold whenever this one does, itself included."""
        number = self.number(acl)
        found = self._wider.get(number)
        if found is None:
            found = self._wider[number] = frozenset(self._covering(acl, number))
        return found

    def exclude(self, one: Acl, other: Acl) -> bool:
        """Whether two ACLs can never hold together; False also where nobody can tell."""
        first, second = self._known[one.number], self._known[other.number]
        if not (first.plain and second.plain and first.attributes == second.attributes):
            return False
        if len(first.atoms) > FEW or len(second.atoms) > FEW:
            return False
        if any(low <= end and start <= high for _, low, high in first.spans for _, start, end in second.spans):
            return False
        return not (self._meet(first, second) or self._meet(second, first))

    def _add(self, acl: Acl) -> None:
        atoms = frozenset(atom for matcher in acl.matchers for atom in _atoms(matcher, acl))
        spans = frozenset(span for matcher in acl.matchers for span in _spans(matcher))
        plain = bool(acl.matchers) and all(_is_plain(matcher) for matcher in acl.matchers)
        known = self._known[acl.number] = Coverage(frozenset(acl.attributes), atoms, spans, plain)
        if known.identity in self._numbers:
            return
        self._numbers[known.identity] = acl.number
        for atom in atoms:
            self._by_atom.setdefault(atom, []).append(acl.number)
        for span in spans:
            self._by_span.setdefault(span[0], {}).setdefault(span, []).append(acl.number)

    def _covering(self, acl: Acl, number: int) -> Iterator[int]:
        known = self._known[number]
        yield number
        values: tuple[Atom | Span, ...] = (*known.atoms, *known.spans)
        if acl.is_score or not values or len(values) > FEW:
            return
        # The value that the fewest others hold leaves the fewest to compare with.
        rarest = min((self._holders(value) for value in values), key=_count)
        if _count(rarest) > MANY:
            return
        for found in {each for numbers in rarest for each in numbers}:
            wide = self._known[found]
            # One that asks for more attributes may be unknown where this one is known.
            if wide.attributes <= known.attributes and all(self._has(wide, value) for value in values):
                yield found

    def _holders(self, value: Atom | Span) -> list[list[int]]:
        if len(value) == 2:
            return [self._by_atom[wide] for wide in self._wider_atoms(value) if wide in self._by_atom]
        known = self._by_span[value[0]]
        if len(known) > FEW:
            return [known[wide] for wide in _blocks(value) if wide in known]
        return [numbers for wide, numbers in known.items() if _within(value, wide)]

    def _has(self, wide: Coverage, value: Atom | Span) -> bool:
        if len(value) == 2:
            return any(each in wide.atoms for each in self._wider_atoms(value))
        if len(wide.spans) > FEW:
            return any(each in wide.spans for each in _blocks(value))
        return any(_within(value, each) for each in wide.spans)

    def _wider_atoms(self, atom: Atom) -> Iterable[Atom]:
        kind, key = atom
        if not isinstance(key, str) or kind not in (*ADDRESSES, *HOSTS):
            return (atom,)
        if key[0] == ".":
            return ((kind, each) for each in (key, *parent_keys(key[1:])))
        if kind in HOSTS or ("@" not in key and key != NULL_SENDER):
            return ((kind, each) for each in (key, *parent_keys(key)))
        return (atom,) if key[-1] == "@" else ((kind, each) for each in address_keys(key, self.delimiter))

    def _meet(self, narrow: Coverage, wide: Coverage) -> bool:
        return any(each in wide.atoms for atom in narrow.atoms for each in self._wider_atoms(atom))


def _count(holders: list[list[int]]) -> int:
    return sum(len(numbers) for numbers in holders)


def _within(narrow: Span, wide: Span) -> bool:
    return narrow[0] == wide[0] and wide[1] <= narrow[1] and narrow[2] <= wide[2]


def _blocks(span: Span) -> Iterator[Span]:
    """Every network that has this one: where there are many, nobody looks at each."""
    kind, low, high = span
    if not (isinstance(low, int) and isinstance(high, int)):
        yield span
        return
    bits_of_family = 32 if kind.endswith(" 4") else 128
    for bits in range((low ^ high).bit_length(), bits_of_family + 1):
        start = low >> bits << bits
        yield (kind, start, start | (1 << bits) - 1)


def _spans(matcher: Matcher) -> Iterator[Span]:
    if isinstance(matcher, NumberMatcher):
        for (low, high), _ in matcher.comparisons:
            yield (matcher.attributes[0], low, high)
    elif isinstance(matcher, NetworkMatcher):
        for (first, last), _ in matcher.ranges:
            yield (f"{matcher.attributes[0]} {first[:1].decode()}", _number(first), _number(last))


def _atoms(matcher: Matcher, acl: Acl) -> Iterator[Atom]:
    if isinstance(matcher, (SeveralKeysMatcher, OneKeyMatcher)):
        for key in matcher.words:
            yield (matcher.attributes[0], key)
    elif isinstance(matcher, PresentMatcher):
        yield ("sender", NULL_SENDER) if matcher.empty else ("present", matcher.attributes)
    elif isinstance(matcher, TableMatcher):
        yield ("table", (matcher.lookup.name, matcher.attributes))
    elif isinstance(matcher, ClockMatcher):
        # A tz= is about all values beside it.
        yield (acl.type_name, frozenset(word.text.casefold() for word in acl.words))
    elif not isinstance(matcher, (NumberMatcher, NetworkMatcher)):
        own = getattr(matcher, "word", None)
        for word in getattr(matcher, "words", None) or ([own] if own else acl.words):
            yield (type(matcher).__name__, (matcher.attributes, word.text))


def _is_plain(matcher: Matcher) -> bool:
    if isinstance(matcher, (NumberMatcher, NetworkMatcher)):
        return True
    if isinstance(matcher, PresentMatcher):
        return matcher.empty
    # `user@` may meet any domain.
    return isinstance(matcher, (SeveralKeysMatcher, OneKeyMatcher)) and not any(key[-1] == "@" for key in matcher.words)


def _number(key: bytes) -> int:
    return int.from_bytes(key[1:], "big")
