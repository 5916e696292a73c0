"""Terms of rules: names of ACLs, with `!` in front where they must not hold; True and False are known beforehand.

Rules of ours are conjunctions. A disjunction, and the opposite of a conjunction, become an ACL of type `any`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkpolicy.importing.draft import Draft

Term = str | bool


def opposite(term: Term) -> Term:
    """What holds where the term does not."""
    if isinstance(term, bool):
        return not term
    return term[1:] if term[0] == "!" else f"!{term}"


def together(terms: Iterable[Term]) -> list[str] | None:
    """The terms that must all be met, each once; None where one never is."""
    kept: dict[str, None] = {}
    for term in terms:
        if term is False:
            return None
        if term is not True:
            kept[term] = None
    return None if any(opposite(term) in kept for term in kept) else list(kept)


def either(draft: Draft, name: str, terms: Iterable[Term]) -> Term:
    """One of them is met."""
    kept: dict[str, None] = {}
    for term in terms:
        if term is True:
            return True
        if term is not False:
            kept[term] = None
    if len(kept) > 1:
        return draft.acl(name, "any", list(kept))
    return next(iter(kept), False)


def all_of(draft: Draft, name: str, terms: Sequence[Term]) -> Term:
    """All of them are met, as one term."""
    kept = together(terms)
    if kept is None:
        return False
    if len(kept) < 2:
        return kept[0] if kept else True
    return opposite(either(draft, name, [opposite(term) for term in kept]))
