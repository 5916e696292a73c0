"""The terms of an ACL of type `any`: other ACLs, which stand above it, each with a `!` or without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import ConfigError, nearest
from forkpolicy.policy.parser import parse_clause

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.model import Acl
    from forkpolicy.policy.nodes import Clause, Place, Word

ANY = "any"


def terms_of(
    name: Word, words: Sequence[Word], acls: Mapping[str, Acl], actions: Collection[str], declared: Mapping[str, Place]
) -> tuple[tuple[tuple[Acl, bool], ...], list[Diagnostic]]:
    """The terms that words mean, and what is wrong with the others. `name`: of the ACL itself, in its first statement;
    `acls`: those above it; `declared`: where each ACL of the policy is.
    """
    terms: list[tuple[Acl, bool]] = []
    wrong: list[Diagnostic] = []
    for word in words:
        try:
            clause = parse_clause(word)
        except ConfigError as error:
            wrong += error.diagnostics
            continue
        acl = acls.get(clause.word.text)
        if acl is None:
            wrong.append(_not_above(name, clause, acls, actions, declared))
        elif any(matcher.notes for matcher in acl.all_matchers):
            hint = "it belongs into an access statement, where it notes the rule"
            wrong.append(clause.word.error(f'acl "{acl.name}" of type {acl.type_name} always holds', hint))
        else:
            terms.append((acl, clause.negated))
    return tuple(terms), wrong


def _not_above(
    name: Word, clause: Clause, acls: Collection[str], actions: Collection[str], declared: Mapping[str, Place]
) -> Diagnostic:
    word, text = clause.word, clause.word.text
    if text in actions:
        hint = "an action stands at the end of an access statement"
        return word.error(f'"{text}" is an action, and {ANY} asks ACLs', hint)
    if text == name.text:
        return word.error(f'acl "{text}" cannot ask itself')
    if text in declared:
        where = f"line {declared[text].line}"
        hint = f'declare it above the first statement of "{name.text}", line {name.place.line}'
        return word.error(f'acl "{text}" is declared later, in {where}', hint)
    near = nearest(text, acls)
    return word.error(f'unknown acl "{text}"', f'did you mean "{near}"?' if near else "declare it before")
