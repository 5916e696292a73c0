"""Any attribute that has no type of its own, known today or not: its whole value, case folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.exact import OneKeyMatcher, Patterns
from forkpolicy.policy.matchers.values import AttributeType
from forkpolicy.tables.keys import fold_text
from forkpolicy.tables.kinds.kind import Subject

if TYPE_CHECKING:
    from collections.abc import Collection

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.guards import KeysOf
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.nodes import Word


def text_matcher(name: str, words: list[Word], context: BuildContext) -> Matcher:
    """Whole values."""
    return OneKeyMatcher(name, context.by_key(words, fold_text), PATTERNS, fold_text)


def _lister(_keys: Collection[str]) -> KeysOf:
    return lambda value: (fold_text(value),)


PATTERNS = Patterns(_lister)
TYPE = AttributeType(Subject.TEXT, text_matcher, fold_text).acl_type
