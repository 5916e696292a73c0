"""What the index may know of a matcher without asking it: the matcher holds only if its guard does.

Guards of one kind and one attribute, of all rules of a policy, stand together in one index (policy/plan). A guard
may hold too often, never too seldom, since each rule that is found is tried in full.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.nodes import Word
    from forkpolicy.tables.keys import IpRange

KeysOf = Callable[[str], Iterable[str]]
Lister = Callable[[Collection[str]], KeysOf]
"""What gives the keys under which a value may stand, no more of them than a collection of keys can have."""


@dataclass(frozen=True, slots=True)
class Exact:
    """One of these keys is one under which the value stands. `lister` is the same for all of one attribute."""

    attribute: str
    keys: Collection[str]
    lister: Lister


@dataclass(frozen=True, slots=True)
class Networks:
    """The value is an address in one of these ranges."""

    attribute: str
    ranges: Sequence[IpRange]


@dataclass(frozen=True, slots=True)
class Expressions:
    """One of these expressions is found in the value."""

    attribute: str
    words: Sequence[Word]


@dataclass(frozen=True, slots=True)
class AskOnce:
    """Only the matcher itself knows (a table does): it is asked once a request, for all rules that it guards."""

    matcher: Matcher


Guard = Exact | Networks | Expressions | AskOnce
