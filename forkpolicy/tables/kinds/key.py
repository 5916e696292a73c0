"""`key`: any texts, compared whole and case folded: logins, fingerprints, several attributes joined by a blank."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

from forkpolicy.tables.keys import fold_text
from forkpolicy.tables.kinds.kind import Subject, TableKind
from forkpolicy.tables.kinds.lookups import asker

if TYPE_CHECKING:
    from collections.abc import Mapping

    import lmdb

    from forkpolicy.tables.format import Traits
    from forkpolicy.tables.kinds.kind import Find, SourceKey, View

# `if` and `endif` are words of cidr_table(5); as keys they must be in quotes.
_COMMON: Final = re.compile(r"(?!(?i:if|endif)$|(?i:until=))[A-Za-z0-9._@:/+=-]+")


class KeyKind(TableKind):
    """Keys are folded texts."""

    takes_any_text = True
    asked_for: ClassVar[Mapping[Subject, View | None]] = {Subject.HOST: None, Subject.MAIL: None, Subject.TEXT: None}
    common = _COMMON

    def finder(self, cursor: lmdb.Cursor[bytes], _traits: Traits, _delimiter: str) -> Find:
        """The folded text."""
        ask = asker(cursor)
        return lambda text: ask(text.casefold())

    def parse(self, key: SourceKey) -> str:
        """The folded text."""
        return fold_text(key.text)

    def wildcard_labels(self, _keys: object) -> set[int]:
        """A dot in front says nothing."""
        return set()

    def words(self, key: str) -> list[str]:
        """Each word, as any of them may name something."""
        return key.split()

    def shape(self, _key: str) -> str:
        """Only that."""
        return "text"
