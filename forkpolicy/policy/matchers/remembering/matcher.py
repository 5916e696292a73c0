"""What the types that remember share: a key, options, and that only the store knows the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Asking, Matcher
from forkpolicy.policy.matchers.remembering.keys import is_bare_key

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Finding, Lookup
    from forkpolicy.policy.matchers.remembering.keys import Key
    from forkpolicy.policy.nodes import Word


class RememberingMatcher(Matcher):
    """One ACL that asks the store, by its name."""

    asking = Asking.COUNTS | Asking.FAILS
    writes = True

    def __init__(self, acl: str, key: Key, *, skips: bool = False) -> None:
        self.acl = acl
        self.key = key
        self.attributes = key.attributes
        self.skips = skips
        # A table that is asked besides those of the key.
        self.own_table: Lookup | None = None

    def find(self, *_values: str) -> Finding | None:
        """Never: `question` and `read` say it."""
        raise AssertionError(f"acl {self.acl} asks the store")

    def covers(self) -> Extent:
        """Only itself."""
        return Extent(frozenset({("remembers", self.acl)}))

    @property
    def tables(self) -> tuple[Lookup, ...]:
        """Those of its key, and its own."""
        of_key = (table for acl in self.key.acls for matcher in acl.matchers for table in matcher.tables)
        return (*of_key, *([self.own_table] if self.own_table else []))

    @property
    def acls(self) -> tuple[str, ...]:
        """Those of its key."""
        return tuple(acl.name for acl in self.key.acls)


def expects(context: BuildContext, word: Word, form: str) -> list[Matcher]:
    """A mistake at a word: what was expected."""
    context.wrong(word, f"expected {form}", f'did you mean "{{{word.text}}}"?' if is_bare_key(word) else "")
    return []
