"""`listed LIST {KEY}...`: holds when `remember` put a key on a list and its time is not over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Reading
from forkpolicy.policy.matchers.remembering.keys import WHOLE, is_key, key_of, parse_mask
from forkpolicy.policy.matchers.remembering.matcher import RememberingMatcher, expects
from forkpolicy.policy.matchers.remembering.options import Options
from forkpolicy.policy.parser import NAME
from forkpolicy.state.questions.listed import Listed, ListedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.matchers.remembering.keys import Key, Values
    from forkpolicy.policy.nodes import Word
    from forkpolicy.state.store import Question

USAGE: Final = "listed LIST {KEY}..., as in listed trapped {client_address}"


class ListedMatcher(RememberingMatcher):
    """One list, by one key."""

    writes = False
    clock: Callable[[], float]

    def __init__(self, acl: str, list_name: str, key: Key, clock: Callable[[], float], *, skips: bool) -> None:
        super().__init__(acl, key, skips=skips)
        self.list_name, self.key_parts, self.clock = list_name, len(key.parts), clock

    def question(self, values: Values) -> Question[object] | None:
        """Whether the key is on the list. None where a part of it is empty."""
        key = self.key.texts(values)
        return Listed(self.list_name, key) if key else None

    def read(self, answer: object) -> Reading:
        """`{match.ACL}`: the seconds that are left."""
        until_s = cast("ListedAnswer", answer).until_s
        if until_s is None:
            return Reading(holds=False, value="", result="no")
        return Reading(holds=True, value=str(self._left_s(until_s)), result="yes")

    def in_words(self, question: Question[object], answer: object) -> str:
        """Key and list, and for how long."""
        until_s = cast("ListedAnswer", answer).until_s
        key = self.key.shown(cast("Listed", question).key)
        if until_s is None:
            return f"{key}: is not on the list {self.list_name}"
        return f"{key}: is on the list {self.list_name} for {self._left_s(until_s)} s more"

    def covers(self) -> Extent:
        """The same list and key."""
        return Extent(frozenset({("listed", (self.list_name, tuple(part.name for part in self.key.parts)))}))

    def _left_s(self, until_s: float) -> int:
        return max(0, round(until_s - self.clock()))


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    options = Options(words, ("mask", "fail"), context)
    keys = [word for word in options.rest if is_key(word)]
    others = [word for word in options.rest if not is_key(word)]
    if not keys or len(others) != 1 or not NAME.fullmatch(others[0].text):
        return expects(context, (others[1:] or [type_word])[0], USAGE)
    key = key_of(keys, options.value("mask", WHOLE, parse_mask), context)
    return [ListedMatcher(context.acl, others[0].text, key, context.clock, skips=options.skips)]


TYPE = AclType(_build, adds_up=False)
