"""What a type needs to build its matchers: the tables that are declared, files, the clock, and a place for mistakes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from forkpolicy.errors import nearest
from forkpolicy.protocol.attributes import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from forkpolicy.errors import Diagnostic
    from forkpolicy.files import Files
    from forkpolicy.policy.matchers.matcher import Lookup, Matcher
    from forkpolicy.policy.nodes import Word

    Build = Callable[[Word, list[Word], "BuildContext"], list[Matcher]]

T = TypeVar("T")


@dataclass
class BuildContext:
    """One load of a policy. `delimiter` is Postfix's recipient_delimiter."""

    files: Files
    tables: Mapping[str, Lookup]
    delimiter: str = ""
    clock: Callable[[], float] = time.time
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def wrong(self, word: Word, message: str, hint: str = "") -> None:
        """A mistake at a word."""
        self.diagnostics.append(word.error(message, hint))

    def parsed(self, words: list[Word], parse: Callable[[str], T]) -> list[tuple[T, Word]]:
        """What `parse` makes of each word; what it raises ValueError for is a mistake."""
        parsed = []
        for word in words:
            try:
                parsed.append((parse(word.text), word))
            except ValueError as error:
                self.wrong(word, str(error))
        return parsed

    def by_key(self, words: list[Word], parse: Callable[[str], str]) -> dict[str, Word]:
        """Words by the key that `parse` makes of each. The first of equal ones keeps its place in explanations."""
        return dict(reversed(self.parsed(words, parse)))

    def table(self, word: Word, name: str) -> Lookup | None:
        """The declared table of that name; where there is none, the mistake is at `word`."""
        lookup = self.tables.get(name)
        if lookup is None:
            near = nearest(name, list(self.tables))
            hint = f'did you mean "table:{near}"?' if near else "declare it before: table NAME KIND SOURCE"
            self.wrong(word, f'unknown table "{name}"', hint)
        return lookup

    def is_attribute(self, word: Word, name: str) -> bool:
        """Whether an attribute of that name is known; where it is not, the mistake is at `word`."""
        if name in ATTRIBUTES:
            return True
        near = nearest(name, ATTRIBUTES)
        self.wrong(word, f'unknown attribute "{name}"', f'did you mean "{{{near}}}"?' if near else "")
        return False


def _no_warnings(_words: Sequence[Word]) -> Iterator[Diagnostic]:
    return iter(())


@dataclass(frozen=True, slots=True)
class AclType:
    """One type of ACL: how its words become matchers, and what `check` warns of in the words of the policy."""

    build: Build
    takes_values: bool = True
    warnings: Callable[[Sequence[Word]], Iterator[Diagnostic]] = _no_warnings
