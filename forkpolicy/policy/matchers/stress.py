"""`stress`: without a value, as apolicy has it, it holds while Postfix is short of processes (`stress=yes`). With
values it is an attribute like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers import text
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.nodes import Word

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Matcher


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    return text.TYPE.build(type_word, words or [Word("yes", type_word.place)], context)


TYPE = AclType(_build, may_be_bare=True, warnings=text.TYPE.warnings)
