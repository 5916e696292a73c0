"""`protocol_state`: the states of SMTP at which Postfix asks, and no other word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import nearest
from forkpolicy.policy.matchers.exact import OneKeyMatcher
from forkpolicy.policy.matchers.text import PATTERNS
from forkpolicy.policy.matchers.values import AttributeType
from forkpolicy.protocol.attributes import STATES
from forkpolicy.tables.keys import fold_text
from forkpolicy.tables.kinds.kind import Subject

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.nodes import Word


def state_matcher(name: str, words: list[Word], context: BuildContext) -> Matcher:
    """States in any case."""
    return OneKeyMatcher(name, context.by_key(words, _state), PATTERNS, fold_text)


def _state(text: str) -> str:
    if text.upper() not in STATES:
        near = nearest(text, [state.lower() for state in STATES])
        hint = f'; did you mean "{near.upper()}"?' if near else ""
        raise ValueError(f'"{text}" is not a protocol state: expected {", ".join(STATES)}{hint}')
    return text.casefold()


TYPE = AttributeType(Subject.TEXT, state_matcher, fold_text).acl_type
