"""`log`, apolicy's type without a value: it always holds, and a rule that comes to it is noted in the decision log.

What notes is a rule of its own in front of that rule, which `resolve` makes of the terms up to this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.matcher import Names


class AlwaysMatcher(Matcher):
    """Holds for every request."""

    notes = True

    def find(self, *_values: str) -> Finding | None:
        """Always."""
        return Finding("always")

    def source(self, names: Names) -> str:  # noqa: ARG002 - it needs none
        """A constant."""
        return "True"

    def covers(self) -> Extent:
        """The same as every other of its type."""
        return Extent(frozenset({("always", ())}))


TYPE = AclType(lambda _type_word, _words, _context: [AlwaysMatcher()], takes_values=False)
