"""What a file may say that the policy includes with `restricted`: somebody else writes it, who may be an attacker.

Such a file can refuse mail, or let the rules behind its `include` not be asked. It can do no more: it changes no name
of the policy, names no file, table source or server, moves no mail and copies none. What it says about DNS lists, SPF,
services and what is remembered would cost time or room that mail needs, so it may not say that either. Limits see to it
that whatever it says is loaded in a second and asked in some milliseconds: one that is over a limit is not looked into,
since a hundred lines of nested ACLs, or long expressions, would take minutes and all memory.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeGuard

from forkpolicy.errors import Diagnostic
from forkpolicy.policy.matchers.expression_signs import is_regex
from forkpolicy.policy.model import DEFAULT_ACTION
from forkpolicy.policy.nodes import AccessStatement, AclStatement, ActionStatement, TableStatement
from forkpolicy.policy.parser import MOST_MISTAKES
from forkpolicy.policy.terms import ANY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from forkpolicy.policy.model import Action, Model, Rule
    from forkpolicy.policy.nodes import Place, Statement, Word
    from forkpolicy.policy.parser import Parsed

VERBS: Final = frozenset({"DUNNO", "REJECT", "DEFER", "DEFER_IF_REJECT", "DEFER_IF_PERMIT", "4xx", "5xx", "WARN"})
# Shown in messages and in the manual.
ACTIONS: Final = "DUNNO, REJECT, DEFER, DEFER_IF_REJECT, DEFER_IF_PERMIT, 4NN, 5NN, WARN, log"
REFUSED_TYPES: Final = ("greylisting", "rate", "distinct", "rbl", "rhsbl", "spf", "service")
# So many take a fraction of a second to load; an attacker would write a million.
MAX_STATEMENTS: Final = 2000
MAX_TERMS: Final = 4000
MAX_TERMS_OF_ONE: Final = 50
# RE2 takes a millisecond to compile one that has too many instructions, and one for 1,000 of them in an address.
MAX_EXPRESSIONS: Final = 200
MAX_INSTRUCTIONS: Final = 4000
MAX_NAME_CHARS: Final = 64
# Rules that write a line each while a request is decided.
MAX_NOTES: Final = 10
_MATCH: Final = re.compile(r"\{match(?:-text)?\.([A-Za-z0-9_.-]+)\}")


def check_restricted(parsed: Parsed) -> Iterator[Diagnostic]:
    """The mistakes of statements in restricted files, and of others that rely on them."""
    if not parsed.restricted:
        return
    inside = [each for each in parsed.statements if place_of(each).path in parsed.restricted]
    outside = [each for each in parsed.statements if place_of(each).path not in parsed.restricted]
    found = next(_too_much(parsed.statements, parsed.restricted), None)
    if found:
        yield found
        parsed.statements = outside
        return
    names = {_name(each).text: _name(each) for each in reversed(outside) if not isinstance(each, AccessStatement)}
    yield from islice((each for statement in inside for each in _mistakes(statement, names)), MOST_MISTAKES)
    own = {_name(each).text for each in inside if not isinstance(each, AccessStatement)} - names.keys()
    for statement in outside:
        for word, name in _used(statement):
            if name in own:
                message = f'"{name}" is declared in a restricted file: only rules of that file may use it'
                yield word.error(message, "declare it here, or leave it out")


def _too_much(statements: Sequence[Statement], restricted: Collection[str]) -> Iterator[Diagnostic]:
    """What is more than restricted files may have together, cheapest to find first."""
    inside = [each for each in statements if place_of(each).path in restricted]
    if len(inside) > MAX_STATEMENTS:
        message = f"restricted files have {len(inside)} statements together: {MAX_STATEMENTS} at most"
        yield _at(place_of(inside[MAX_STATEMENTS]), message)
    for each in inside:
        if not isinstance(each, AccessStatement) and len(each.name.text) > MAX_NAME_CHARS:
            yield _at(place_of(each), f"a name of a restricted file has {MAX_NAME_CHARS} characters at most")
    yield from _too_many_terms(statements, restricted)
    yield from _too_large_expressions(inside)


def _too_many_terms(statements: Sequence[Statement], restricted: Collection[str]) -> Iterator[Diagnostic]:
    """A rule costs its terms, and an ACL of type `any` in it those of that: one within another would multiply them."""
    every = 0
    # Of each ACL of type `any`, also of the policy's: how many terms it comes to.
    weights: Counter[str] = Counter()
    of_others: Counter[str] = Counter()
    for statement in statements:
        words = _terms_of(statement)
        weight = sum(weights.get(each, 1) for _, each in words)
        if _is_any(statement):
            weights[statement.name.text] += weight
        if place_of(statement).path not in restricted or not words:
            continue
        count, every = len(words), every + weight
        if _is_any(statement):
            nested = next((word for word, each in words if each in of_others), None)
            if nested:
                yield nested.error(f'"{nested.text}": an acl of type any of a restricted file names no other one of it')
            of_others[statement.name.text] += count
            count = of_others[statement.name.text]
        if count > MAX_TERMS_OF_ONE:
            message = f"{count} terms: a rule or an acl of type any of a restricted file has {MAX_TERMS_OF_ONE} at most"
            yield _at(place_of(statement), message)
        if every > MAX_TERMS:
            message = f"from here on restricted files have more than {MAX_TERMS} terms of rules together"
            yield _at(place_of(statement), message, "those of an acl of type any count each time that it is named")


def _terms_of(statement: Statement) -> Sequence[tuple[Word, str]]:
    """The ACLs, and perhaps an action, that a rule or an ACL of type `any` names."""
    if isinstance(statement, AccessStatement):
        return [(clause.word, clause.word.text) for clause in statement.clauses]
    return [(word, word.text.lstrip("!")) for word in statement.values] if _is_any(statement) else []


def _is_any(statement: Statement) -> TypeGuard[AclStatement]:
    return isinstance(statement, AclStatement) and statement.type_name.text.lower() == ANY


def _too_large_expressions(inside: Sequence[Statement]) -> Iterator[Diagnostic]:
    words = [word for each in inside if isinstance(each, AclStatement) for word in each.values if is_regex(word.text)]
    if len(words) > MAX_EXPRESSIONS:
        message = f"restricted files have {len(words)} regular expressions together: {MAX_EXPRESSIONS} at most"
        yield words[MAX_EXPRESSIONS].error(message, "plain values and tables have no such limit")
    if not words:
        return
    from forkpolicy.policy.matchers.regex import bounded_size  # noqa: PLC0415 - see expression_signs.py

    size = 0
    for word in words:
        size += bounded_size(word.text, MAX_INSTRUCTIONS)
        if size > MAX_INSTRUCTIONS:
            message = "from here on the regular expressions of restricted files are too large together"
            yield word.error(message, "shorten them, with smaller repetitions, or use plain values or a table")


def check_actions(model: Model, restricted: Collection[str]) -> Iterator[Diagnostic]:
    """Actions of restricted files that do more than they may, and rules that use such an action of the policy."""
    for action in model.actions.values():
        if action.place and action.place.path in restricted and not _is_allowed(action):
            yield _at(action.place, f'action "{action.name}": a restricted file has {ACTIONS} only')
    for rule in model.rules:
        if rule.place and rule.place.path in restricted and not _is_allowed(rule.action):
            message = f'the action "{rule.action.name}" of this rule: a restricted file has {ACTIONS} only'
            yield _at(rule.place, message, "declare an action in this file, and name it at the end of the rule")
    notes = [rule.place for rule in model.rules if rule.place and rule.place.path in restricted and _notes(rule)]
    if len(notes) > MAX_NOTES:
        yield _at(notes[MAX_NOTES], f"restricted files have {len(notes)} rules that log: {MAX_NOTES} at most")


def first_mistakes(diagnostics: Iterable[Diagnostic], restricted: Collection[str]) -> Iterator[Diagnostic]:
    """All of the policy's, and some of restricted files: their writer fills no log with them."""
    count = 0
    for each in diagnostics:
        count += each.path in restricted
        if each.path not in restricted or count <= MOST_MISTAKES:
            yield each


def is_table_of_others(statement: Statement, restricted: Collection[str]) -> bool:
    """Whether a restricted file declares a table."""
    return isinstance(statement, TableStatement) and statement.name.place.path in restricted


def _notes(rule: Rule) -> bool:
    return rule.is_note or rule.action.kind == "log"


def _is_allowed(action: Action) -> bool:
    return action.kind == "log" or (action.kind == "reply" and not action.passes_on and action.verb in VERBS)


def _mistakes(statement: Statement, names: dict[str, Word]) -> Iterator[Diagnostic]:
    """Of one statement of a restricted file. `names`: those of the policy outside."""
    if isinstance(statement, AccessStatement):
        return
    name = _name(statement)
    if name.text in names:
        where = names[name.text].place
        yield name.error(f'"{name.text}" is a name of the policy ({where}): a restricted file has names of its own')
    if name.text == DEFAULT_ACTION:
        yield name.error(f'the action "{DEFAULT_ACTION}" is the policy\'s: a restricted file cannot declare it')
    if isinstance(statement, TableStatement):
        yield name.error(
            "a restricted file declares no table", "declare it in the policy, and name it here: table:NAME"
        )
    if isinstance(statement, AclStatement):
        type_name = statement.type_name.text.lower()
        if type_name in REFUSED_TYPES:
            yield statement.type_name.error(f"a restricted file has no acl of type {type_name}")


def _used(statement: Statement) -> Iterator[tuple[Word, str]]:
    """The names of ACLs and actions that a statement uses, each with the word that has it."""
    yield from _terms_of(statement)
    if isinstance(statement, AclStatement):
        yield from _matches((statement.type_name, *statement.values))
    elif isinstance(statement, ActionStatement):
        yield from _matches((statement.reply,))


def _matches(words: Sequence[Word]) -> Iterator[tuple[Word, str]]:
    """{match.ACL} in words."""
    for word in words:
        yield from ((word, name) for name in _MATCH.findall(word.text))


def _name(statement: Statement) -> Word:
    assert not isinstance(statement, AccessStatement)
    return statement.name


def place_of(statement: Statement) -> Place:
    """Where a statement stands."""
    return statement.keyword.place if isinstance(statement, AccessStatement) else statement.name.place


def _at(place: Place, message: str, hint: str = "") -> Diagnostic:
    return Diagnostic(place.path, place.line, place.column, message, place.source, 1, hint)
