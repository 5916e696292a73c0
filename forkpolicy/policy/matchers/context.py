"""What a type needs to build its matchers: the tables that are declared, files, the clock, and a place for mistakes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from forkpolicy.errors import nearest
from forkpolicy.policy.parts import nearest_name, part_named

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from forkpolicy.errors import Diagnostic
    from forkpolicy.files import Files
    from forkpolicy.policy.matchers.matcher import Finding, Lookup, Matcher
    from forkpolicy.policy.nodes import Word
    from forkpolicy.policy.parts import Part

    Build = Callable[[Word, list[Word], "BuildContext"], list[Matcher]]

T = TypeVar("T")


class DeclaredAcl(Protocol):
    """An ACL that stands above, as other ACLs may ask it."""

    @property
    def name(self) -> str:
        """As the policy declares it."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """What it asks a request for."""

    @property
    def matchers(self) -> tuple[Matcher, ...]:
        """What it holds by."""

    @property
    def terms(self) -> Sequence[object]:
        """The ACLs that one of type `any` asks."""

    @property
    def asked_once(self) -> bool:
        """Whether asking it counts or waits."""

    def find(self, values: Mapping[str, str | None]) -> Finding | None:
        """What makes it hold."""


@dataclass
class BuildContext:
    """One load of a policy. `delimiter` is Postfix's recipient_delimiter; `acls` are those above the statement at hand,
    and `acl` the name of its own; `skips_failures`: a store that fails leaves an ACL unknown unless it says otherwise;
    `own_sockets`: the endpoints that this server listens on, with paths from the root; `restricted`: the files that may
    name no other.
    """

    files: Files
    tables: Mapping[str, Lookup]
    delimiter: str = ""
    clock: Callable[[], float] = time.time
    skips_failures: bool = False
    own_sockets: Sequence[str] = ()
    restricted: Collection[str] = ()
    acls: Mapping[str, DeclaredAcl] = field(default_factory=dict)
    acl: str = ""
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

    def part(self, word: Word) -> Part | None:
        """The attribute, or the part of one, that a word in braces stands for. An unknown one is a mistake."""
        name = word.text[1:-1]
        part = part_named(name)
        if part is None:
            near = nearest_name(name)
            self.wrong(word, f'unknown attribute "{name}"', f'did you mean "{{{near}}}"?' if near else "")
        return part


def _no_warnings(_words: Sequence[Word]) -> Iterator[Diagnostic]:
    return iter(())


class AclType(NamedTuple):
    """One type of ACL: how its words become matchers, and what `check` warns of in the words of the policy."""

    build: Build
    takes_values: bool = True
    # Whether it may stand without values.
    may_be_bare: bool = False
    # Whether one name may have several statements, which add their values.
    adds_up: bool = True
    warnings: Callable[[Sequence[Word]], Iterator[Diagnostic]] = _no_warnings
