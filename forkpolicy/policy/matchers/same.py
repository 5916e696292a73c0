"""`acl same helo_name {client_name}`: two attributes, or an attribute and a part of one, are equal, and there.

They are folded first: domains are compared in their ASCII form. An address is compared with a part of an address by the
part that it has itself: `sender {recipient_domain}` holds for one domain, `sender {recipient_localpart}` for one local
part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Finding, Matcher
from forkpolicy.policy.matchers.table import viewed_in_source
from forkpolicy.policy.parts import Part, local_part
from forkpolicy.tables.kinds.domain import domain_of_address
from forkpolicy.tables.kinds.kind import Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.policy.matchers.matcher import Names
    from forkpolicy.policy.nodes import Word


class SameMatcher(Matcher):
    """Two of them, compared by `key_of`."""

    def __init__(self, first: Part, second: Part, word: Word, key_of: Callable[[str], str]) -> None:
        self.attributes = (first.attribute, second.attribute)
        self.first, self.second = first, second
        self.word = word
        self.key_of = key_of

    def holds(self, *values: str) -> bool:
        """Whether both say the same; two that are empty say nothing."""
        return self._same(*self._texts(values))

    def find(self, *values: str) -> Finding | None:
        """What was compared with, and its value."""
        first, second = self._texts(values)
        return Finding(f"{self.word.text} = {second}", self.word.place) if self._same(first, second) else None

    def source(self, names: Names) -> str:
        """A call, with the parts taken out."""
        return f"{names.value('same', self._same)}({_source(names, self.first)}, {_source(names, self.second)})"

    def covers(self) -> Extent:
        """Only itself."""
        return Extent(frozenset({("same", (self.first.name, self.second.name))}))

    def _texts(self, values: tuple[str, ...]) -> tuple[str, str]:
        first, second = values
        return self.first.text(first), self.second.text(second)

    def _same(self, first: str, second: str) -> bool:
        return bool(first) and self.key_of(first) == self.key_of(second)


def _source(names: Names, part: Part) -> str:
    return viewed_in_source(names, part.attribute, part.of)


def same_matcher(name: str, subject: Subject, second: Part, word: Word, fold: Callable[[str], str]) -> SameMatcher:
    """The matcher of an attribute and a word in braces. `fold` makes whole values of the attribute comparable."""
    is_domain = second.subject is Subject.HOST
    if subject is Subject.MAIL and second.of:
        own = domain_of_address if is_domain else local_part
        return SameMatcher(Part(f"{second.name} of {name}", name, second.subject, own), second, word, second.fold)
    return SameMatcher(Part(name, name, subject), second, word, second.fold if second.of and is_domain else fold)
