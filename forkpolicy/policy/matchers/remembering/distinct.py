"""`distinct {KEY}... {VALUE} >N/WINDOW`: holds when a value makes more than N different ones for a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from forkpolicy.durations import show_duration
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.matcher import Reading
from forkpolicy.policy.matchers.remembering.keys import WHOLE, Key, is_bare_key, is_key, key_of, parse_mask
from forkpolicy.policy.matchers.remembering.limits import parse_limit
from forkpolicy.policy.matchers.remembering.matcher import RememberingMatcher, expects
from forkpolicy.policy.matchers.remembering.options import Options
from forkpolicy.state.questions.distinct import Distinct, DistinctAnswer

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.matchers.remembering.keys import Values
    from forkpolicy.policy.nodes import Word
    from forkpolicy.state.questions.rate import Limit
    from forkpolicy.state.store import Question

# A record keeps each of them.
MAX_DIFFERENT: Final = 1000
MOST: Final = ">N/WINDOW, as in >20/1h"
USAGE: Final = "distinct {KEY}... {VALUE} >N/WINDOW, as in distinct {sasl_username} {client_address} >5/1h"


class DistinctMatcher(RememberingMatcher):
    """One limit of different values. The last part of `whole` is the value."""

    def __init__(self, acl: str, whole: Key, limit: Limit, *, skips: bool) -> None:
        super().__init__(acl, whole, skips=skips)
        self.limit = limit

    def question(self, values: Values) -> Question[object] | None:
        """How many different values there are with this one. None where the key or the value is empty."""
        texts = self.key.texts(values)
        if texts is None:
            return None
        return Distinct(self.acl, texts[:-1], texts[-1], self.limit.amount, self.limit.window_s)

    def read(self, answer: object) -> Reading:
        """`{match.ACL}`: how many different values there are."""
        distinct = cast("DistinctAnswer", answer)
        return Reading(distinct.over, str(distinct.different), "over" if distinct.over else "under")

    def in_words(self, question: Question[object], answer: object) -> str:
        """Key and value, and how many there are."""
        asked, distinct = cast("Distinct", question), cast("DistinctAnswer", answer)
        window = show_duration(self.limit.window_s)
        shown = self.key.shown((*asked.key, asked.value))
        return f"{shown}: {distinct.different} different in {window}, of which {self.limit.amount} may be"


def parse_most(text: str) -> Limit:
    """`>20/1h`. Raises ValueError."""
    if not text.startswith(">"):
        raise ValueError(f'"{text}": expected {MOST}')
    limit = parse_limit(text[1:], MOST)
    if not 1 <= limit.amount <= MAX_DIFFERENT:
        raise ValueError(f"{limit.amount} different values: 1 to {MAX_DIFFERENT} are possible")
    return limit


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    options = Options(words, ("mask", "fail"), context)
    keys = [word for word in options.rest if is_key(word)]
    others = [word for word in options.rest if not is_key(word)]
    if len(keys) < 2 or len(others) != 1:
        return expects(context, next(filter(is_bare_key, others), (others[1:] or [type_word])[0]), USAGE)
    key = key_of(keys, options.value("mask", WHOLE, parse_mask), context)
    limits = context.parsed(others, parse_most)
    return [DistinctMatcher(context.acl, key, limits[0][0], skips=options.skips)] if limits else []


TYPE = AclType(_build, adds_up=False)
