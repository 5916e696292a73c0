"""Whether a copy of a mail at a gateway has become what it must: a comparison of an expectation with what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loadtest.traffic.gateway_oracle import DELIVERED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.traffic.gateway_day import SiteMail


class Expected(NamedTuple):
    """What must become of a copy: the oracle's word, and what its recipient does with it when it is held: release,
    delete, or nothing (empty).
    """

    mail: SiteMail
    recipient: str
    fate: str
    wish: str


class Seen(NamedTuple):
    """What was seen of it: the final reply (0: none), how often it was delivered, whether with another body, the states
    of its rows in the store and why they are there.
    """

    code: int
    words: str
    delivered: int
    is_changed: bool
    states: Sequence[str]
    why: Sequence[str] = ()

    def __str__(self) -> str:
        rows = ", ".join((*self.states, *self.why)) or "nothing"
        body = ", its body was changed" if self.is_changed else ""
        return f"reply {self.code} {self.words!r}, delivered {self.delivered} times{body}, in the store: {rows}"


def verdict(expected: Expected, seen: Seen) -> str:
    """Wrong, lost or doubled; empty: it is as it must be."""
    if seen.code != REFUSED.get(expected.fate, 250) or seen.is_changed:
        return "wrong"
    if seen.code == 250 and not seen.delivered and not seen.states:
        return "lost"
    if seen.delivered > 1 or len(seen.states) > 1:
        return "doubled"
    return "" if (seen.delivered, tuple(seen.states)) in _right(expected) else "wrong"


def _right(expected: Expected) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """How often it may be delivered, with which states of its rows."""
    if expected.fate in REFUSED:
        return ((0, ()),)
    if expected.fate == DELIVERED:
        # By way of the store where a welcome let it go on.
        return (1, ()), (1, ("delivered",))
    return {"release": ((1, ("delivered",)),), "delete": ((0, ("deleted",)),), "": ((0, ("held",)),)}[expected.wish]
