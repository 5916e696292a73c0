"""What the entries of a compiled table lack: values that the policy wants of them, and texts that it replies with.

A wanted value that no entry has is misspelt here or there, most often. A reply whose text is an entry's value alone is
empty where the entry has none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import Diagnostic, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from forkpolicy.policy.model import Action, Model
    from forkpolicy.policy.nodes import Word
    from forkpolicy.tables.reader import Table

    # By the function that makes values comparable, the words of each value.
    Wanted = dict[Callable[[str], str], dict[str, list[Word]]]

# Different values among which a misspelt one is looked for.
MOST_KNOWN: Final = 1000
# The verb of a reply, or its code, and the status that may stand before its text.
_NO_TEXT: Final = re.compile(r"\S+\s*([245]\.\d{1,3}\.\d{1,3})?\s*", re.ASCII)


def entry_warnings(models: Iterable[Model], table: Table) -> list[Diagnostic]:
    """Warnings about what the entries of a table lack. Reads them until nothing is open, a second for a million."""
    several = list(models)
    wanted, text_action = _wanted(several, table.name), _action_of_texts(several, table.name)
    known: dict[str, None] = {}
    without_text: bytes | None = None
    for _, raw in table.entries() if wanted or text_action else ():
        value = table.value(raw)
        if text_action and not value and without_text is None:
            without_text = raw
        if len(known) < MOST_KNOWN:
            known[value or ""] = None
        for fold, missing in wanted.items():
            missing.pop(fold(value or ""), None)
        if not any(wanted.values()) and (without_text or not text_action):
            break
    found = sorted(_misspelt(wanted, known, table.name), key=lambda each: (each.path, each.line, each.column))
    return [*found, *([_empty(table, without_text, text_action)] if without_text and text_action else [])]


def _wanted(models: Iterable[Model], name: str) -> Wanted:
    found: Wanted = {}
    for matcher in (each for model in models for acl in model.acls.values() for each in acl.matchers):
        if matcher.wanted and matcher.lookup and matcher.lookup.name == name:
            fold, words = matcher.wanted
            missing = found.setdefault(fold, {})
            for key, word in words.items():
                missing.setdefault(key, []).append(word)
    return found


def _misspelt(wanted: Wanted, known: Iterable[str], name: str) -> Iterator[Diagnostic]:
    """A warning for each wanted value, at its word."""
    for fold, missing in wanted.items():
        folded = {fold(value): value for value in known if value}
        for key, words in missing.items():
            near = nearest(key, folded)
            hint = f'did you mean "{folded[near]}"?' if near else ""
            for word in words:
                yield word.warning(f'no entry of table {name} has the value of "{word.text}"', hint)


def _action_of_texts(models: Iterable[Model], name: str) -> Action | None:
    """An action that has nothing but the values of this table for a text."""
    for model in models:
        for action in model.actions.values():
            for acl in _only_text(action):
                # One that wants a value finds no entry without one.
                if any(
                    each.lookup and each.lookup.name == name and not each.wanted
                    for each in model.acls[acl].all_matchers
                ):
                    return action
    return None


def _only_text(action: Action) -> tuple[str, ...]:
    """The ACL of which the whole text of a reply is put in."""
    if action.kind != "reply" or not action.template or action.template.names != action.template.names[:1]:
        return ()
    literals = "".join(literal for literal, _ in action.template.pieces)
    return action.template.matches if _NO_TEXT.fullmatch(literals) else ()


def _empty(table: Table, raw: bytes, action: Action) -> Diagnostic:
    entry = table.entry(raw)
    message = f"{entry.key} has no value, and action {action.name} has no other text"
    hint = "write a text behind it, or leave the entry out, so that a rule below can have a text for all others"
    return Diagnostic(entry.source, entry.line, 0, message, entry.key, len(entry.key), hint, "warning")
