"""Which ACLs imply which: whatever makes the narrow one hold makes the wide one hold too.

An ACL is seen as what its matchers cover: atoms and spans, one of which is enough. `check` asks this about rules that
can never fire; it is exact where it says yes, and says no where nobody can tell (an expression against a name). One
index for all ACLs, so that ten thousand of them cost a look-up each. An ACL of type `any` holds whenever one of its
terms does, and implies what all of them imply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from forkpolicy.policy.matchers.extent import Atom, Extent, Span
    from forkpolicy.policy.model import Acl

# More values than these in both of two ACLs, and nobody compares them one by one.
FEW = 64
# ACLs that share every value with that many others are left alone: nobody wrote them by hand.
MANY = 256


@dataclass(frozen=True, slots=True)
class _Known:
    """One ACL. `space` is that of its matchers where it is the same for all; `terms`: those of an ACL of type `any`."""

    attributes: frozenset[str]
    extents: tuple[Extent, ...]
    atoms: frozenset[Atom]
    spans: frozenset[Span]
    space: str
    terms: tuple[tuple[Acl, bool], ...] = ()

    @classmethod
    def of(cls, acl: Acl) -> _Known:
        extents = tuple(matcher.covers() for matcher in acl.matchers)
        atoms = frozenset(atom for each in extents for atom in each.atoms)
        spans = frozenset(span for each in extents for span in each.spans)
        spaces = {each.space for each in extents}
        space = spaces.pop() if len(spaces) == 1 else ""
        return cls(frozenset(acl.attributes), extents, atoms, spans, space, acl.terms)

    @property
    def identity(self) -> Hashable:
        """Equal for ACLs that mean the same, whatever they are called. Those of type `any` see `Implication`."""
        return (self.attributes, self.atoms, self.spans)

    @property
    def size(self) -> int:
        """How many values it has."""
        return len(self.atoms) + len(self.spans)

    def wider_atoms(self) -> Iterator[Iterable[Atom]]:
        """For each atom, all that hold whenever it does."""
        return (each.wider(atom) for each in self.extents for atom in each.atoms)

    def spans_around(self) -> Iterator[tuple[Span, Extent]]:
        """Each span with the extent that knows what may be around it."""
        return ((span, each) for each in self.extents for span in each.spans)

    def has_atom(self, wider: Iterable[Atom]) -> bool:
        """Whether it has one of them."""
        return any(atom in self.atoms for atom in wider)

    def has_span(self, span: Span, extent: Extent) -> bool:
        """Whether one of its own has that span within it."""
        if len(self.spans) > FEW:
            return any(each in self.spans for each in extent.around(span))
        return any(_within(span, each) for each in self.spans)

    def meets(self, other: _Known) -> bool:
        """Whether an atom of ours is within one of the other's."""
        return any(other.has_atom(wider) for wider in self.wider_atoms())


@dataclass
class Implication:
    """All ACLs of a policy."""

    _known: dict[int, _Known] = field(default_factory=dict)
    _by_atom: dict[Atom, list[int]] = field(default_factory=dict)
    _by_span: dict[str, dict[Span, list[int]]] = field(default_factory=dict)
    _numbers: dict[Hashable, int] = field(default_factory=dict)
    _wider: dict[int, frozenset[int]] = field(default_factory=dict)
    # The ACLs of type `any` that have an ACL as a term.
    _with_term: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, acls: Iterable[Acl]) -> Implication:
        """Take every ACL in, so that `wider` knows them all."""
        implication = cls()
        for acl in acls:
            implication._add(acl)
        return implication

    def number(self, acl: Acl) -> int:
        """The same number for ACLs that mean the same."""
        return self._numbers[self._identity(self._known[acl.number])]

    def wider(self, acl: Acl) -> frozenset[int]:
        """The numbers of all ACLs that hold whenever this one does, itself included."""
        number = self.number(acl)
        found = self._wider.get(number)
        if found is None:
            found = self._wider[number] = frozenset(self._with_any(self._implied(acl, number)))
        return found

    def exclude(self, one: Acl, other: Acl) -> bool:
        """Whether two ACLs can never hold together; False also where nobody can tell."""
        first, second = self._known[one.number], self._known[other.number]
        if first.terms:
            return all(not negated and self.exclude(term, other) for term, negated in first.terms)
        if second.terms:
            return self.exclude(other, one)
        if not first.space or first.space != second.space:
            return False
        if len(first.atoms) > FEW or len(second.atoms) > FEW:
            return False
        if any(_meet(span, each) for span in first.spans for each in second.spans):
            return False
        return not (first.meets(second) or second.meets(first))

    def names(self, acl: Acl, atom: Atom) -> bool:
        """Whether an ACL has that very value."""
        return any(atom in self._known[each.number].atoms for each in acl.alternatives)

    def _add(self, acl: Acl) -> None:
        known = self._known[acl.number] = _Known.of(acl)
        identity = self._identity(known)
        if identity in self._numbers:
            return
        self._numbers[identity] = acl.number
        for term, negated in known.terms:
            if not negated:
                self._with_term.setdefault(self.number(term), []).append(acl.number)
        for atom in known.atoms:
            self._by_atom.setdefault(atom, []).append(acl.number)
        for span in known.spans:
            self._by_span.setdefault(span[0], {}).setdefault(span, []).append(acl.number)

    def _identity(self, known: _Known) -> Hashable:
        """Terms are declared before what asks them, so they have numbers."""
        terms = frozenset((self.number(term), negated) for term, negated in known.terms)
        return ("any", terms) if terms else known.identity

    def _with_any(self, numbers: Iterable[int]) -> set[int]:
        """The same, and all of type `any` of which a term is among them."""
        found, fresh = set[int](), set(numbers)
        while fresh:
            found |= fresh
            others = (self._with_term.get(number, ()) for number in fresh)
            fresh = {number for several in others if len(several) <= MANY for number in several} - found
        return found

    def _implied(self, acl: Acl, number: int) -> Iterator[int]:
        known = self._known[number]
        yield number
        if known.terms and not any(negated for _, negated in known.terms):
            yield from frozenset.intersection(*(self.wider(term) for term, _ in known.terms))
        if acl.is_score or not 0 < known.size <= FEW:
            return
        # The value that the fewest others hold leaves the fewest to compare with.
        rarest = min(self._holders(known), key=_count)
        if _count(rarest) > MANY:
            return
        for found in {each for numbers in rarest for each in numbers}:
            # One that asks for more attributes may be unknown where this one is known.
            if self._known[found].attributes <= known.attributes and self._holds_all(self._known[found], known):
                yield found

    def _holds_all(self, wide: _Known, narrow: _Known) -> bool:
        return all(map(wide.has_atom, narrow.wider_atoms())) and all(
            wide.has_span(span, extent) for span, extent in narrow.spans_around()
        )

    def _holders(self, known: _Known) -> Iterator[list[list[int]]]:
        """For each value, the ACLs that hold whenever it does, by the value that they have of their own."""
        for wider in known.wider_atoms():
            yield [self._by_atom[atom] for atom in wider if atom in self._by_atom]
        for span, extent in known.spans_around():
            others = self._by_span[span[0]]
            if len(others) > FEW:
                yield [others[wide] for wide in extent.around(span) if wide in others]
            else:
                yield [numbers for wide, numbers in others.items() if _within(span, wide)]


def _count(holders: list[list[int]]) -> int:
    return sum(len(numbers) for numbers in holders)


def _within(narrow: Span, wide: Span) -> bool:
    return narrow[0] == wide[0] and wide[1] <= narrow[1] and narrow[2] <= wide[2]


def _meet(one: Span, other: Span) -> bool:
    return one[0] == other[0] and one[1] <= other[2] and other[1] <= one[2]
