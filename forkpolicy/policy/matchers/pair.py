"""`acl pair table:NAME {sender} {client_address}`: a `key` table asked for several attributes, joined by one blank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.table import AskingMatcher
from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Matcher, Names
    from forkpolicy.policy.nodes import Word

FORM = "acl pair table:NAME {sender} {client_address}"


class PairMatcher(AskingMatcher):
    """One table and several attributes."""

    def raw(self, *values: str) -> bytes | None:
        """What the table has for these values together."""
        return self.lookup.find(" ".join(values))

    def source(self, names: Names) -> str:
        """The look-up without a call of ours."""
        joined = " ".join(f"{{{names.seen(name)}}}" for name in self.attributes)
        return self.asked_in_source(names, f"f'{joined}'")


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    lookup = context.table(type_word, type_word.text[len("table:") :])
    wrong = [word for word in words if not (word.text.startswith("{") and word.text.endswith("}"))]
    for word in wrong or ([] if words else [type_word]):
        context.wrong(word, f"expected attributes in braces: {FORM}")
    names = [word.text[1:-1] for word in words if context.is_attribute(word, word.text[1:-1])]
    if lookup is None or wrong or not names:
        return []
    if not KINDS[lookup.kind].takes_any_text:
        fitting = " or ".join(kind for kind, each in KINDS.items() if each.takes_any_text)
        message = f'table "{lookup.name}" is of kind {lookup.kind}: attributes together need one of kind {fitting}'
        context.wrong(type_word, message)
        return []
    return [PairMatcher(tuple(names), type_word, lookup)]


TYPE = AclType(_build, may_be_bare=True)
