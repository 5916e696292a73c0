"""What the value of a table's entry must be: one of some values, another one, a number in an interval.

`entry` asks the table. `fold` makes values comparable; generated code and the index see the folded value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.table import number_space
from forkpolicy.policy.matchers.table_value import check_comparison, interval_of, number_of
from forkpolicy.tables.keys import fold_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from forkpolicy.policy.matchers.matcher import Names
    from forkpolicy.policy.matchers.number import Interval
    from forkpolicy.policy.matchers.table_value import TableValue
    from forkpolicy.policy.nodes import Word

Fold = Callable[[str], str]


class Condition(Protocol):
    """What is wanted of the value of an entry. It is asked about values that `fold` has made comparable; an entry
    without a value has "" there.
    """

    @property
    def fold(self) -> Fold:
        """Makes the value of an entry comparable."""

    @property
    def words(self) -> Collection[Word]:
        """The values of the policy."""

    @property
    def by_key(self) -> Mapping[str, Word]:
        """Those of them that an entry is meant to have as its value."""

    @property
    def keys(self) -> Collection[str] | None:
        """The values of entries for which it holds; None: it may hold for any."""

    def word_for(self, value: str) -> Word | None:
        """The value of the policy that makes it hold. Raises ValueError where it cannot be compared."""

    def source(self, names: Names, value: str) -> str:
        """The same as an expression about the expression `value`, which is None without an entry."""

    def covers(self, space: str) -> Extent:
        """What it holds for; `space` is the name of the question to the table."""


class Equal(NamedTuple):
    """One of these values, by the key that `fold` makes of each. `name`: what they are."""

    by_key: Mapping[str, Word]
    fold: Fold = fold_text
    name: str = "="

    @property
    def words(self) -> Collection[Word]:
        """In the order of the policy."""
        return self.by_key.values()

    @property
    def keys(self) -> Collection[str]:
        """All that it holds for."""
        return self.by_key.keys()

    def word_for(self, value: str) -> Word | None:
        """The one that it equals."""
        return self.by_key.get(value)

    def source(self, names: Names, value: str) -> str:
        """One look into a set."""
        return f"{value} in {names.value('wanted', frozenset(self.by_key))}"

    def covers(self, space: str) -> Extent:
        """Its values. There is one entry, so that two values never hold together."""
        space = f"{space} {self.name}"
        return Extent(frozenset((space, key) for key in self.by_key), space=space)


class Unequal(NamedTuple):
    """Any value but one, and no value."""

    word: Word
    unwanted: str
    fold: Fold = fold_text
    keys: None = None

    @property
    def words(self) -> Collection[Word]:
        """The one."""
        return (self.word,)

    @property
    def by_key(self) -> Mapping[str, Word]:
        """The same: where no entry has it, it is misspelt."""
        return {self.unwanted: self.word}

    def word_for(self, value: str) -> Word | None:
        """Its word, unless it is that value."""
        return None if value == self.unwanted else self.word

    def source(self, names: Names, value: str) -> str:
        """Without an entry it does not hold, either."""
        return f"{value} not in {names.value('unwanted', (None, self.unwanted))}"

    def covers(self, space: str) -> Extent:
        """Only the same."""
        return Extent(frozenset({(f"{space} !=", self.unwanted)}))


class Within(NamedTuple):
    """A number in an interval."""

    word: Word
    interval: Interval
    fold: Fold = fold_text
    keys: None = None

    @property
    def words(self) -> Collection[Word]:
        """The one."""
        return (self.word,)

    @property
    def by_key(self) -> Mapping[str, Word]:
        """None: numbers are compared."""
        return {}

    def word_for(self, value: str) -> Word | None:
        """Its word, if the value is such a number."""
        low, high = self.interval
        return self.word if low <= number_of(value) <= high else None

    def holds(self, value: str | None) -> bool:
        """The same for generated code."""
        return value is not None and self.word_for(value) is not None

    def source(self, names: Names, value: str) -> str:
        """A call, since numbers are parsed."""
        return f"{names.value('within', self.holds)}({value})"

    def covers(self, space: str) -> Extent:
        """Its interval."""
        space = number_space(space)
        return Extent(spans=frozenset({(space, *self.interval)}), space=space)


def condition_of(word: Word, value: TableValue) -> Condition:
    """What one value of a policy wants. Raises ValueError."""
    check_comparison(value)
    if value.is_numeric:
        return Within(word, interval_of(value))
    wanted = fold_text(value.wanted)
    return Equal({wanted: word}) if value.operator == "=" else Unequal(word, wanted)
