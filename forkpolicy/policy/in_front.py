"""Statements that somebody would add to a policy, in front of its first rule: an exception that is tried.

They mean there what they would mean if they stood in the file. What would be a mistake there is one here, at the
word that is new: a name that the policy has for something else, a table that nobody has compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.types import type_named
from forkpolicy.policy.nodes import AccessStatement, AclStatement, ActionStatement, TableStatement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.nodes import Statement, Word
    from forkpolicy.policy.parser import Parsed


def put_in_front(parsed: Parsed, added: Parsed) -> None:
    """Put statements and diagnostics of `added` into a parsed policy. Names of the policy that are declared behind its
    first rule cannot be used there, as anywhere above their declaration.
    """
    wrong = list(_mistakes(parsed.statements, added.statements))
    at = next((at for at, each in enumerate(parsed.statements) if isinstance(each, AccessStatement)), None)
    if at is None:
        at = len(parsed.statements)
    if not wrong:
        # The policy's own words would be blamed for those.
        parsed.statements[at:at] = added.statements
    parsed.diagnostics[:0] = [*added.diagnostics, *wrong]
    parsed.paths[:0] = added.paths
    parsed.restricted |= added.restricted


def _mistakes(own: Iterable[Statement], added: Iterable[Statement]) -> Iterator[Diagnostic]:
    acls: dict[str, AclStatement] = {}
    actions: dict[str, Word] = {}
    for each in own:
        if isinstance(each, AclStatement):
            acls.setdefault(each.name.text, each)
        elif isinstance(each, ActionStatement):
            actions.setdefault(each.name.text, each.name)
    for statement in added:
        if isinstance(statement, AccessStatement):
            continue
        name = statement.name
        if isinstance(statement, TableStatement):
            hint = "declare it in the policy, compile it, and name it here as table:NAME"
            yield name.error("a table cannot be declared here: nobody has compiled it", hint)
        elif name.text in actions:
            yield _taken(name, "an action", actions[name.text])
        elif isinstance(statement, ActionStatement):
            if name.text in acls:
                yield _taken(name, "an acl", acls[name.text].name)
        elif name.text in acls:
            yield from _other_acl(statement, acls[name.text])


def _other_acl(added: AclStatement, own: AclStatement) -> Iterator[Diagnostic]:
    """Values of the same type are added to those of the policy, as anywhere."""
    own_type = own.type_name.text.lower()
    if own_type != added.type_name.text.lower() or not type_named(own_type).adds_up:
        yield _taken(added.name, f"an acl of type {own_type}", own.name)


def _taken(name: Word, what: str, own: Word) -> Diagnostic:
    return name.error(f'"{name.text}" is {what} of the policy ({own.place}): choose another name')
