"""What a matcher holds for, as `policy.implication` compares two ACLs: atoms and spans, one of which is enough.

An atom is a value that is compared whole (an address pattern, an expression, a table); a span is an interval of
numbers, of which another one may be a part. Each has the name of what it is about in front, so that equal values of two
attributes are two atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

Atom = tuple[str, Hashable]
Span = tuple[str, float, float]


def _atom_alone(atom: Atom) -> Iterable[Atom]:
    return (atom,)


def _span_alone(span: Span) -> Iterable[Span]:
    return (span,)


class Extent(NamedTuple):
    """All that a matcher holds for. `wider` gives the atoms that hold whenever one of its own does, itself included.

    `around` gives the spans that may be around one of its own, where there are too many to compare with each.
    `space`: two extents of one space that have nothing in common never hold together; empty where nobody can tell.
    """

    atoms: frozenset[Atom] = frozenset()
    spans: frozenset[Span] = frozenset()
    space: str = ""
    wider: Callable[[Atom], Iterable[Atom]] = _atom_alone
    around: Callable[[Span], Iterable[Span]] = _span_alone
