"""`rate {KEY}... LIMIT/WINDOW...`: holds when a request would be one too many in any window.

What is counted, and when it is known:

    messages    from RCPT on: the first request of an instance counts 1
    recipients  at RCPT each new one counts 1; at DATA and END-OF-MESSAGE `recipient_count`, less what was counted
    bytes       at END-OF-MESSAGE, `size`; before it that is a client's wish
    requests    each request, whenever the key is known
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

from forkpolicy.durations import show_duration
from forkpolicy.errors import ForkpolicyError
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.matcher import Reading
from forkpolicy.policy.matchers.number import MAX_DIGITS
from forkpolicy.policy.matchers.remembering.keys import WHOLE, asker_of, is_bare_key, is_key, key_of, parse_mask
from forkpolicy.policy.matchers.remembering.limits import FORM, all_limits, parse_limit, parse_limits
from forkpolicy.policy.matchers.remembering.matcher import RememberingMatcher, expects
from forkpolicy.policy.matchers.remembering.options import Options
from forkpolicy.protocol.attributes import STATES
from forkpolicy.state.questions.rate import Limit, Rate, RateAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Lookup, Matcher
    from forkpolicy.policy.matchers.remembering.keys import Key, TextOf, Values
    from forkpolicy.policy.nodes import Word
    from forkpolicy.state.store import Question

FROM_RCPT: Final = frozenset({"RCPT", "DATA", "END-OF-MESSAGE"})
OPTIONS: Final = ("count", "limits", "refused", "mask", "fail")
USAGE: Final = "rate {KEY}... LIMIT/WINDOW..., as in rate {sasl_username} 100/1h"


class Counted(NamedTuple):
    """What one request is about to count. `item`: what makes a request of the instance the same one again."""

    amount: int
    item: str = ""
    is_total: bool = False


class Counting(NamedTuple):
    """One way to count: when it is known, what it reads, and what it counts; None: a number that is none."""

    known_states: frozenset[str]
    reads: tuple[str, ...]
    counted: Callable[[Values], Counted | None]


def _message(_values: Values) -> Counted:
    return Counted(1)


def _recipients(values: Values) -> Counted | None:
    if values["protocol_state"] == "RCPT":
        return Counted(1, values["recipient"] or "")
    total = _number(values["recipient_count"])
    return None if total is None else Counted(total, is_total=True)


def _bytes(values: Values) -> Counted | None:
    size = _number(values["size"])
    return None if size is None else Counted(size, "size")


def _request(values: Values) -> Counted:
    return Counted(1, f"{values['protocol_state']} {values['recipient']}")


def _number(text: str | None) -> int | None:
    is_number = text and text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    return int(text) if is_number and text else None


COUNTINGS: Final = {
    "messages": Counting(FROM_RCPT, (), _message),
    "recipients": Counting(FROM_RCPT, ("protocol_state", "recipient", "recipient_count"), _recipients),
    "bytes": Counting(frozenset({"END-OF-MESSAGE"}), ("size",), _bytes),
    "requests": Counting(frozenset(STATES), ("protocol_state", "recipient"), _request),
}


class RateMatcher(RememberingMatcher):
    """One limit, by one key."""

    def __init__(self, acl: str, key: Key, words: list[Word], limits: tuple[Limit, ...], options: Options) -> None:
        super().__init__(acl, key, skips=options.skips)
        self.words, self.limits = words, limits
        self.counting = options.choice("count", "messages", {each: each for each in COUNTINGS})
        self.refused_counts = options.choice("refused", False, {"count": True})
        counting = COUNTINGS[self.counting]
        self.known_states, self._counted = counting.known_states, counting.counted
        self.also_reads = (*counting.reads, "instance")
        self._first: TextOf | None = None

    def take_limits_from(self, table: Lookup, first: TextOf) -> None:
        """The limits of a request are those that a table has for the first part of its key, if it has any."""
        self.own_table, self._first = table, first

    def question(self, values: Values) -> Question[object] | None:
        """How much more there is. None without a key, without a limit, and for a number that is none."""
        key = self.key.texts(values)
        limits = self._limits(values) if key else ()
        counted = self._counted(values) if limits else None
        if key is None or counted is None:
            return None
        instance = values["instance"] or ""
        amount, item, is_total = counted
        return Rate(self.acl, key, limits, self.counting, amount, instance, item, is_total, self.refused_counts)

    def read(self, answer: object) -> Reading:
        """`{match.ACL}`: the seconds until one more would pass."""
        rate = cast("RateAnswer", answer)
        return Reading(rate.over, str(rate.wait_s), "over" if rate.over else "under")

    def in_words(self, question: Question[object], answer: object) -> str:
        """The key, and how much of each window is used."""
        asked, rate = cast("Rate", question), cast("RateAnswer", answer)
        windows = []
        wait = f", one more in {rate.wait_s} s" if rate.over else ""
        for each in rate.windows:
            is_over = each.used + asked.amount > each.amount
            windows.append(f"{each.used} of {each.amount} in {show_duration(each.window_s)}{wait * is_over}")
            wait = "" if is_over else wait
        return f"{self.key.shown(asked.key)}: {'; '.join(windows)}"

    def warnings(self) -> Iterator[Diagnostic]:
        """A longer window whose limit is not larger."""
        for shorter, longer in zip(self.limits, self.limits[1:], strict=False):
            if longer.amount <= shorter.amount:
                word = next(word for word in self.words if parse_limit(word.text) == shorter)
                shown = f"{longer.amount}/{show_duration(longer.window_s)}"
                message = f"{word.text} has no effect: {shown} is reached before it"
                yield word.warning(message, "leave it out, or allow more in the longer window")

    def _limits(self, values: Values) -> tuple[Limit, ...]:
        if self.own_table is None or self._first is None:
            return self.limits
        raw = self.own_table.find(self._first(values))
        if raw is None:
            return self.limits
        entry = self.own_table.entry(raw)
        try:
            return parse_limits(entry.value or "")
        except ValueError as error:
            raise ForkpolicyError(f"table {self.own_table.name}, {entry.key}: {error}") from error


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    options = Options(words, OPTIONS, context)
    keys = [word for word in options.rest if is_key(word)]
    others = [word for word in options.rest if not is_key(word)]
    if not keys or not (others or options.word("limits")):
        return expects(context, next(filter(is_bare_key, others), type_word), USAGE)
    limits = context.parsed(others, parse_limit)
    mask = options.value("mask", WHOLE, parse_mask)
    key = key_of(keys, mask, context)
    try:
        merged = all_limits(limit for limit, _ in limits)
    except ValueError as error:
        context.wrong(others[-1], str(error))
        return []
    matcher = RateMatcher(context.acl, key, others, merged, options)
    word = options.word("limits")
    if word and key.parts:
        _take_limits(matcher, word, context)
    return [matcher]


def _take_limits(matcher: RateMatcher, word: Word, context: BuildContext) -> None:
    value = word.text.partition("=")[2]
    if not value.startswith("table:"):
        context.wrong(word, f"expected limits=table:NAME, whose values are {FORM}")
        return
    table = context.table(word, value[len("table:") :])
    first = asker_of(matcher.key.parts[0], word, table, context) if table else None
    if table and first:
        matcher.take_limits_from(table, first)


TYPE = AclType(_build, adds_up=False)
