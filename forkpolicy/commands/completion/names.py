"""The names that a policy declares, for completion. Reads text and imports nothing that decides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.errors import ConfigError
from forkpolicy.files import Files
from forkpolicy.policy.nodes import AccessStatement, AclStatement, ActionStatement, TableStatement
from forkpolicy.policy.parser import parse_policy
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.policy.nodes import Statement

COUNTING = ("rate", "greylisting", "distinct")
# A shell gives them a meaning of its own: such a name is written by hand, in quotes.
_PLAIN = re.compile(r"[\w.:@/+][\w.:@/+-]*")


def names(settings_path: str, kind: str) -> list[str]:
    """Each name once, in the order of the policy, but those that a shell would take apart. `kind`: `tables`; `lists`;
    `remembered`, which is lists and ACLs that count; `rules`, as `history find` takes them.
    """
    try:
        policy = load_settings(settings_path).policy
    except ConfigError:
        return []
    statements = parse_policy(policy, Files()).statements
    found = dict.fromkeys(name for each in statements for name in _names_of(each, kind))
    return [name for name in found if _PLAIN.fullmatch(name)]


def _names_of(statement: Statement, kind: str) -> Iterator[str]:
    if kind == "tables" and isinstance(statement, TableStatement):
        yield statement.name.text
    elif kind == "rules" and isinstance(statement, AccessStatement):
        place = statement.keyword.place
        yield f"rule:{Path(place.path).name}:{place.line}"
    elif kind in ("lists", "remembered"):
        yield from _lists(statement)
        if kind == "remembered" and isinstance(statement, AclStatement) and _type_of(statement) in COUNTING:
            yield statement.name.text


def _lists(statement: Statement) -> Iterator[str]:
    """The list that an ACL asks, or that an action changes."""
    if isinstance(statement, AclStatement) and _type_of(statement) == "listed" and statement.values:
        yield statement.values[0].text
    if isinstance(statement, ActionStatement):
        verb, *words = statement.reply.text.split()
        if verb.lower() in ("remember", "forget") and words:
            yield words[0]


def _type_of(statement: AclStatement) -> str:
    return statement.type_name.text.lower()
