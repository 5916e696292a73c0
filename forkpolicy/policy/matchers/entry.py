"""The entry of a table must say something: `table:NAME=VALUE`, `!=VALUE`, `>=N`, and the values of `country` and `asn`.

A table is asked as without a comparison, and the value of the entry that it finds is compared. No entry: it does not
hold. Generated code looks up once what several ACLs of a function compare, and the index finds rules by their values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.errors import ForkpolicyError
from forkpolicy.policy.matchers.conditions import Equal, Unequal, Within, condition_of
from forkpolicy.policy.matchers.guards import EntryValues
from forkpolicy.policy.matchers.matcher import Finding
from forkpolicy.policy.matchers.table import AskingMatcher, TableMatcher
from forkpolicy.policy.matchers.table_value import split_table_value
from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkpolicy.policy.matchers.conditions import Condition
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.extent import Atom, Extent
    from forkpolicy.policy.matchers.guards import Guard
    from forkpolicy.policy.matchers.matcher import Lookup, Matcher, Names
    from forkpolicy.policy.matchers.table_value import TableValue
    from forkpolicy.policy.nodes import Word
    from forkpolicy.tables.kinds.kind import Subject

# As many wanted values as an explanation names.
SHOWN: Final = 3


class EntryMatcher(AskingMatcher):
    """One question to a table, and what is wanted of the entry that it finds."""

    # Several ACLs share one look-up.
    asking_us = 0.07

    def __init__(self, asked: AskingMatcher, condition: Condition) -> None:
        super().__init__(asked.attributes, asked.word, asked.lookup)
        self.asked, self.condition = asked, condition
        self.wanted = (condition.fold, condition.by_key) if condition.by_key else None
        self.shares = (asked.atom, condition.fold)

    def raw(self, *values: str) -> bytes | None:
        """The entry, if its value is as wanted."""
        raw = self.asked.raw(*values)
        return raw if raw is not None and self._word_for(raw) else None

    def find(self, *values: str) -> Finding | None:
        """The entry, with the place of the value that it has."""
        raw = self.asked.raw(*values)
        word = self._word_for(raw) if raw is not None else None
        if raw is None or word is None:
            return None
        entry = self.lookup.entry(raw)
        return Finding(entry.key, word.place, self.lookup.name, entry, wanted=word.text)

    def missed(self, *values: str) -> Finding | None:
        """The entry, and what was wanted instead."""
        raw = self.asked.raw(*values)
        if raw is None:
            return None
        words = [word.text for word in self.condition.words]
        more = f" or {len(words) - SHOWN} more" if len(words) > SHOWN else ""
        entry = self.lookup.entry(raw)
        return Finding(entry.key, None, self.lookup.name, entry, wanted=" ".join(words[:SHOWN]) + more)

    def value_of(self, raw: bytes) -> str:
        """The value of an entry as it is compared."""
        return self.condition.fold(self.lookup.value(raw) or "")

    def value_found(self, raw: bytes | None) -> str | None:
        """The same for generated code; None without an entry."""
        return None if raw is None else self.value_of(raw)

    def source(self, names: Names) -> str:
        """The comparison with what is looked up once."""
        found = f"{names.value('value', self.value_found)}({self.asked.found_in_source(names)})"
        return self.condition.source(names, names.once(self.shares, found))

    def guard(self) -> Guard:
        """The values of entries that it holds for."""
        return EntryValues(self.asked, self.value_of, self.shares, self.condition.keys)

    def covers(self) -> Extent:
        """What the condition does. Whatever the value, the table without a comparison holds, too."""
        return self.condition.covers(self.asked.space)._replace(wider=self._wider)

    def _wider(self, atom: Atom) -> Iterable[Atom]:
        return (atom, self.asked.atom)

    def _word_for(self, raw: bytes) -> Word | None:
        try:
            return self.condition.word_for(self.value_of(raw))
        except ValueError as error:
            raise ForkpolicyError(f"table {self.lookup.name}, {self.lookup.entry(raw).key}: {error}") from error


def with_condition(asked: AskingMatcher, value: TableValue, context: BuildContext) -> AskingMatcher | None:
    """The matcher of a value of a policy, `asked` being that of its table. A mistake is at its word."""
    if not value.operator:
        return asked
    try:
        return EntryMatcher(asked, condition_of(asked.word, value))
    except ValueError as error:
        context.wrong(asked.word, str(error))
        return None


def table_matchers(name: str, subject: Subject, words: Iterable[Word], context: BuildContext) -> list[Matcher]:
    """The matchers of the values of one attribute that begin with `table:`; all `=` of one table are one. Comparisons
    of numbers stand last: where another value holds, nobody asks whether they fail.
    """
    matchers: list[Matcher] = []
    equal: dict[str, tuple[AskingMatcher, dict[str, Word]]] = {}
    for word in words:
        value = split_table_value(word.text)
        lookup = context.table(word, value.name)
        asked = _asked(name, subject, word, lookup, context) if lookup else None
        matcher = with_condition(asked, value, context) if asked else None
        if isinstance(matcher, EntryMatcher) and isinstance(matcher.condition, Equal):
            _, by_key = equal.setdefault(value.name, (matcher.asked, {}))
            by_key |= {key: word for key in matcher.condition.by_key if key not in by_key}
        elif matcher:
            matchers.append(matcher)
            _warn_of_any(matcher, matchers[:-1], context)
    matchers += (EntryMatcher(asked, Equal(by_key)) for asked, by_key in equal.values())
    return sorted(matchers, key=_may_fail)


def _warn_of_any(matcher: Matcher, others: Iterable[Matcher], context: BuildContext) -> None:
    """A warning where one of two `!=` holds for every entry."""
    for other in others:
        if not isinstance(matcher, EntryMatcher) or not isinstance(other, EntryMatcher):
            continue
        one, two = matcher.condition, other.condition
        if not isinstance(one, Unequal) or not isinstance(two, Unequal):
            continue
        if other.lookup is matcher.lookup and one.unwanted != two.unwanted:
            values = " ".join(each.word.text.replace("!=", "=", 1) for each in (other, matcher))
            hint = f"for entries with neither, declare an acl with {values} and write ! before it in the rule"
            message = f"{one.word.text} or {two.word.text} holds for every entry: one value is enough"
            context.diagnostics.append(one.word.warning(message, hint))
            return


def _may_fail(matcher: Matcher) -> bool:
    return isinstance(matcher, EntryMatcher) and isinstance(matcher.condition, Within)


def _asked(name: str, subject: Subject, word: Word, lookup: Lookup, context: BuildContext) -> AskingMatcher | None:
    """The question to a table of a kind that fits."""
    views = KINDS[lookup.kind].asked_for
    if subject in views:
        return TableMatcher(name, word, lookup, views[subject])
    fitting = " or ".join(kind for kind, each in KINDS.items() if subject in each.asked_for)
    context.wrong(word, f'table "{lookup.name}" is of kind {lookup.kind}: {name} needs {fitting}')
    return None
