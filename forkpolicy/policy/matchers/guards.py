"""What the index may know of a matcher without asking it: the matcher holds only if its guard does.

Guards of one kind and one attribute, of all rules of a policy, stand together in one index (policy/plan). A guard
may hold too often, never too seldom, since each rule that is found is tried in full.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.matchers.table import AskingMatcher
    from forkpolicy.policy.nodes import Word
    from forkpolicy.tables.keys import IpRange

KeysOf = Callable[[str], Iterable[str]]
Lister = Callable[[Collection[str]], KeysOf]
"""What gives the keys under which a value may stand, no more of them than a collection of keys can have."""


class Exact(NamedTuple):
    """One of these keys is one under which the value stands. `lister` is the same for all of one attribute."""

    attribute: str
    keys: Collection[str]
    lister: Lister


class Networks(NamedTuple):
    """The value is an address in one of these ranges."""

    attribute: str
    ranges: Sequence[IpRange]


class Expressions(NamedTuple):
    """One of these expressions is found in the value."""

    attribute: str
    words: Sequence[Word]


class AskOnce(NamedTuple):
    """Only the matcher itself knows (a table does): it is asked once a request, for all rules that it guards."""

    matcher: Matcher


class EntryValues(NamedTuple):
    """A table has an entry, whose value is one of `keys`; None: any. `asked` is the question to the table, `value_of`
    makes a key of the entry, and `shares` is equal for guards that ask the same.
    """

    asked: AskingMatcher
    value_of: Callable[[bytes], str]
    shares: Hashable
    keys: Collection[str] | None


Guard = Exact | Networks | Expressions | AskOnce | EntryValues
