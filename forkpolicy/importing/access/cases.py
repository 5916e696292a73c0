"""The rules of a regexp: or pcre: table as cases. Raises UncarriedError where one has no equal: then the table stays.

An address goes through such a table whole; of a client, first the name and then, where no pattern matched it, the
address, which our expressions cannot see: a pattern that could match an address leaves the table in main.cf.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.access.dialects import may_match_address, value_of
from forkpolicy.importing.access.map_files import UncarriedError
from forkpolicy.importing.access.results import Does
from forkpolicy.importing.access.steps import Acl, Case
from forkpolicy.policy.matchers.regex import RegexMatcher
from forkpolicy.policy.nodes import Place, Word
from forkpolicy.tables.keys import NULL_SENDER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forkpolicy.importing.access.pattern_lines import Pattern, Rule
    from forkpolicy.importing.access.results import Result
    from forkpolicy.importing.left_out import Origin

_NULL: Final = Acl("null", "null_sender", ())
# Of an ACL whose values would be too many for one line that people read, there are several.
_MAX_VALUES: Final = 200


class Ordered(NamedTuple):
    """An ordered map and what it is asked about. `anything`: the value that holds for whatever can be looked up."""

    kind: str
    attribute: str
    anything: str
    name: str


class _Read(NamedTuple):
    rule: Rule
    result: Result
    values: dict[Pattern, str]


def expression_cases(ordered: Ordered, rules: Sequence[Rule], result_of: Callable[[str, Origin], Result]) -> list[Case]:
    """The cases of a table, in order."""
    read = [_Read(rule, result_of(_text(rule), rule.origin), _values(ordered, rule)) for rule in rules]
    null = _at_null_sender(read) if ordered.attribute == "sender" else {}
    cases = list(_cases(ordered, read, null))
    if ordered.attribute in ("client_name", "reverse_client_name"):
        cases += _address_cases(ordered, read)
    return _without_tail(cases)


def _text(rule: Rule) -> str:
    """The result, whose dollars mean something. Raises UncarriedError."""
    if re.search(r"\$[({]?\w", rule.result.replace("$$", "")):
        raise UncarriedError(f"{rule.origin}: a policy cannot put a part of a pattern ($1) into a text")
    return rule.result.replace("$$", "$")


def _values(ordered: Ordered, rule: Rule) -> dict[Pattern, str]:
    values = {}
    lowered = ordered.attribute in ("sender", "recipient")
    for pattern in (rule.pattern, *rule.conditions):
        try:
            values[pattern] = value_of(ordered.kind, pattern, lowered=lowered)
        except ValueError as error:
            raise UncarriedError(f"{rule.origin}: /{pattern.text}/: {error}") from error
    return values


def _at_null_sender(read: Sequence[_Read]) -> dict[str, tuple[bool, bool]]:
    """Of each expression whether it matches the empty sender, which a policy sees, and `<>`, which Postfix looks up."""
    values = list(dict.fromkeys(value for each in read for value in each.values.values()))
    if not values:
        return {}
    matcher = RegexMatcher("sender", [Word(value, Place("", 0, 0)) for value in values])
    empty, null = (set(matcher.matching(text)) for text in ("", NULL_SENDER))
    return {value: (at in empty, at in null) for at, value in enumerate(values)}


def _cases(ordered: Ordered, read: Sequence[_Read], null: dict[str, tuple[bool, bool]]) -> Iterator[Case]:
    given = _given(ordered)

    def terms(each: _Read) -> tuple[tuple[Acl, bool], ...]:
        """The terms of the conditions, and of the pattern where it cannot share an ACL."""
        inner = [_term(ordered, pattern, each, null) for pattern in each.rule.conditions]
        if each.rule.pattern.negated or not _is_plain(each, null):
            inner.append(_term(ordered, each.rule.pattern, each, null))
        return (*given, *(term for pair in inner for term in pair))

    def sharing(each: _Read) -> object:
        alone = each.rule.pattern.negated or not _is_plain(each, null) or each.rule.conditions or each.rule.comments
        return each.rule if alone else each.result

    for _, group in groupby(read, sharing):
        members = list(group)
        for first in range(0, len(members), _MAX_VALUES):
            some = members[first : first + _MAX_VALUES]
            head = some[0]
            shared: tuple[tuple[Acl, bool], ...] = ()
            if not head.rule.pattern.negated and _is_plain(head, null):
                values = [value for each in some for value in _plain_values(each, null)]
                shared = ((Acl(_name(ordered, head), ordered.attribute, tuple(dict.fromkeys(values))), True),)
            yield Case((*terms(head), *shared), head.result, head.rule.origin, head.rule.comments)


def _given(ordered: Ordered) -> tuple[tuple[Acl, bool], ...]:
    """What is not there is not looked up."""
    if ordered.anything == "/^/":
        return ()
    return ((Acl(f"given_{ordered.attribute}", ordered.attribute, (ordered.anything,)), True),)


def _is_plain(each: _Read, null: dict[str, tuple[bool, bool]]) -> bool:
    """Whether the null sender is no obstacle to one ACL for the pattern."""
    return null.get(each.values[each.rule.pattern], (False, False)) != (True, False)


def _plain_values(each: _Read, null: dict[str, tuple[bool, bool]]) -> list[str]:
    value = each.values[each.rule.pattern]
    return [value, NULL_SENDER] if null.get(value) == (False, True) else [value]


def _term(
    ordered: Ordered, pattern: Pattern, each: _Read, null: dict[str, tuple[bool, bool]]
) -> list[tuple[Acl, bool]]:
    value = each.values[pattern]
    values = (value, NULL_SENDER) if null.get(value) == (False, True) else (value,)
    term = Acl(_name(ordered, each), ordered.attribute, values), not pattern.negated
    if null.get(value) != (True, False):
        return [term]
    if pattern.negated:
        raise UncarriedError(f"{each.rule.origin}: !/{pattern.text}/ holds for the null sender in Postfix alone")
    return [term, (_NULL, False)]


def _name(ordered: Ordered, each: _Read) -> str:
    return f"{ordered.name}-{each.rule.origin.line}" if each.rule.origin.line else ordered.name


def _address_cases(ordered: Ordered, read: Sequence[_Read]) -> Iterator[Case]:
    """What the table says to the address of a client whose name no pattern matched."""
    for each in read:
        holds = True
        for pattern in (*each.rule.conditions, each.rule.pattern):
            if may_match_address(each.values[pattern]):
                raise UncarriedError(
                    f"{each.rule.origin}: /{pattern.text}/ may match the address of a client, which Postfix looks up "
                    "behind its name"
                )
            holds = holds and pattern.negated
        if holds:
            anything = Acl(f"any_{ordered.attribute}", ordered.attribute, (ordered.anything,))
            yield Case(((anything, True),), each.result, each.rule.origin)
            return


def _without_tail(cases: list[Case]) -> list[Case]:
    """Without what does nothing at the end: there a table without an answer does the same."""
    while cases and cases[-1].result.does is Does.NOTHING:
        cases.pop()
    return cases
