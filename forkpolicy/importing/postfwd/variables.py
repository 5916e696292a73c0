"""Variables that rules set: which rules have set one to which value, and what a comparison with it asks then.

`HIT==1` is met where a rule above was met that says set(HIT=1): its terms are put in place of the comparison.
Raises CannotError for values that are no constants, and where two rules set different ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.importing.postfwd.cannot import CannotError
from forkpolicy.importing.postfwd.logic import Term, all_of, either, opposite
from forkpolicy.importing.postfwd.perl import expression, finds, number
from forkpolicy.protocol.attributes import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.postfwd.program import Assignment
    from forkpolicy.importing.postfwd.values import Value


Listings = Callable[[int], str]


class _Setting(NamedTuple):
    value: str
    rule: str
    terms: tuple[str, ...]
    attributes: tuple[str, ...]
    # Makes the ACL that so many DNS lists say yes, where the value is their number.
    at_least: Listings | None = None


class Variables:
    """What the rules so far have set."""

    def __init__(self, draft: Draft, names: Iterable[str]) -> None:
        self._draft = draft
        self._settings: dict[str, list[_Setting]] = {name: [] for name in names}
        self._lost: dict[str, Origin] = {}

    def __contains__(self, name: str) -> bool:
        """Whether a rule anywhere sets it."""
        return name in self._settings

    def lose(self, name: str, origin: Origin) -> None:
        """A rule that sets it is left out: nothing is known of its value from here on."""
        self._lost.setdefault(name, origin)

    def assign(self, assignment: Assignment, rule: str, terms: Sequence[str], attributes: Iterable[str]) -> None:
        """A rule sets it when its terms are met, which ask about these attributes."""
        name, operator, value = assignment
        if name in ATTRIBUTES:
            raise CannotError(f"set() changes the attribute {name} for the rules behind it")
        if operator not in ("=", "=="):
            raise CannotError(f"{name}{operator}{value} computes a value", "score NAME N adds numbers")
        if "$$" in value:
            raise CannotError(f"{name} gets a value that is not a constant")
        self._settings[name].append(_Setting(value, rule, tuple(terms), tuple(attributes)))

    def count(self, assignment: Assignment, rule: str, terms: Sequence[str], at_least: Listings) -> None:
        """A rule sets it to the number of DNS lists that say yes."""
        if assignment.operator not in ("=", "==") or self._settings[assignment.name]:
            raise CannotError(f"{assignment.name} is set more than once: the number of listings there")
        self._settings[assignment.name].append(_Setting("", rule, tuple(terms), (), at_least))

    def attributes(self, name: str) -> set[str]:
        """What the rules that set it ask about."""
        return {attribute for each in self._settings[name] for attribute in each.attributes}

    def terms(self, name: str, values: Sequence[Value]) -> list[Term]:
        """What a comparison with the variable asks, at this place of the file."""
        if name in self._lost:
            raise CannotError(f"{name} is set at {self._lost[name]}, which is left out")
        settings = self._settings[name]
        if any(each.at_least for each in settings):
            return self._counted(name, values)
        unset = any(_holds(each, "") for each in values)
        constants = {each.value for each in settings}
        if len(constants) > 1:
            raise CannotError(f"{name} is set to different values: the last one counts")
        if not settings or any(_holds(each, settings[0].value) for each in values) == unset:
            return [unset]
        if unset:
            return [opposite(all_of(self._draft, f"{each.rule}_met", each.terms)) for each in settings]
        if len(settings) == 1:
            return list(settings[0].terms)
        terms = [all_of(self._draft, f"{each.rule}_met", each.terms) for each in settings]
        return [either(self._draft, name, terms)]

    def _counted(self, name: str, values: Sequence[Value]) -> list[Term]:
        """So many listings or more: nothing else is asked of a DNS list."""
        setting, *others = self._settings[name]
        value, *more = values
        least = int(number(value.text)) + (value.operator == ">")
        if others or more or value.negated or value.operator not in ("=>", ">") or least < 1 or not setting.at_least:
            raise CannotError(f"{name} is a number of listings", "rbl >=N asks for so many or more")
        return [*setting.terms, setting.at_least(least)]


def _holds(value: Value, item: str) -> bool:
    """Whether postfwd finds that the comparison holds for a text."""
    if "$$" in value.text:
        raise CannotError("a variable compared with another one")
    return _compares(value.operator, value.text, item) != value.negated


def _compares(operator: str, text: str, item: str) -> bool:
    is_true = item not in ("", "0")
    if operator in ("==", "!="):
        return is_true and (item.lower() == text.lower()) == (operator == "==")
    if operator in ("=", "=~", "!~"):
        return finds(expression(text), item) == (operator != "!~")
    left, right = number(item), number(text)
    return {
        "=<": left <= right, "<": left < right, "!<": left > right,
        "=>": left >= right, ">": left > right, "!>": left < right,
    }[operator]  # fmt: skip
