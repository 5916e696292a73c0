"""The shadow policy: evaluated next to the real one in the worker, never obeyed.

Where it would have replied differently is counted by the pair of rules responsible, and logged once a minute for
each pair. While there is no shadow none of this runs: `engine.decide` is then the real policy's own function.

A shadow that remembers gets the answers that the store has given the real policy. Where it asks something else
(another ACL, key or limit) nobody knows what it would decide: such a request is not compared, and counted.

Whatever fails in the shadow, a table or our own code, is counted and logged and has no effect on the reply. Where
either policy could not be evaluated there is nothing to compare: such a request counts as failed, not as different.

A request costs what the shadow's decision costs, and a comparison; one that differs has both texts made.
"""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING

from forkpolicy.policy.answers import NotAskedError
from forkpolicy.status import ShadowStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.loading import Shadow
    from forkpolicy.policy.model import Rule
    from forkpolicy.policy.outcome import Outcome
    from forkpolicy.policy.policy import Policy
    from forkpolicy.protocol.layout import Values
    from forkpolicy.state.store import Question

# Policies that differ in more places than this differ everywhere; memory and log stay bounded.
MAX_PAIRS = 200
SHOWN_PAIRS = 20


class ShadowComparison:
    """The comparison of one generation.

    `on_difference(pair, real, shadow, values)` is called for each difference, `on_failure(why)` for each failure.
    `values` are those of the real policy.
    """

    def __init__(
        self,
        policy: Policy,
        shadow: Shadow,
        on_difference: Callable[[str, str, str, Values], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._policy = policy
        self._shadow = shadow.policy
        self._decide_shadow, self._noted = self._shadow.decide, self._shadow.noted
        # The real policy wants whatever the shadow does, and every policy wants several attributes: this gives a tuple.
        self._pick = itemgetter(*(policy.wanted.index(name) for name in self._shadow.wanted))
        self._replies, self._shadow_replies = _fixed_replies(policy, ""), _fixed_replies(self._shadow, None)
        self._on_difference, self._on_failure = on_difference, on_failure
        self._shadow.on_failure = on_failure
        self._shadow.answer_by(self._given)
        self._knows_all = True
        self.compared = self.differs = self.failed = self.not_compared = 0
        self.pairs: Counter[str] = Counter()

    def decide(self, values: Values) -> Outcome:
        """What the real policy decides; what the shadow decides is compared."""
        outcome = self._policy.decide(values)
        try:
            seen = self._pick(values)
            self._knows_all = True
            other = self._decide_shadow(seen)
            if self._noted:
                self._noted.clear()
            if not self._knows_all:
                self.not_compared += 1
                return outcome
            self.compared += 1
            if self._replies[outcome.rule.number] != self._shadow_replies[other.rule.number]:
                self._compare(outcome.rule, values, other.rule, seen)
        except Exception as error:  # noqa: BLE001 - a shadow must not cost the real policy its reply, whatever it does
            self.failed += 1
            self._on_failure(f"{type(error).__name__}: {error}")
        return outcome

    def _given(self, question: Question[object]) -> object:
        """What the store has answered the real policy: a shadow asks nothing, and counts nothing."""
        try:
            return self._policy.answer_to(question)
        except NotAskedError:
            self._knows_all = False
            raise

    def _compare(self, rule: Rule, values: Values, other: Rule, seen: Values) -> None:
        if rule is self._policy.model.error_rule or other is self._shadow.model.error_rule:
            self.failed += 1
            return
        real, shadow = self._policy.text(rule, values), self._shadow.text(other, seen)
        if real == shadow:
            return
        self.differs += 1
        pair = f"{rule.where} -> {other.where}"
        if pair in self.pairs or len(self.pairs) < MAX_PAIRS:
            self.pairs[pair] += 1
            self._on_difference(pair, real, shadow, values)

    def describe(self) -> ShadowStatus:
        """Counts for `status`."""
        pairs = dict(self.pairs.most_common(SHOWN_PAIRS))
        return ShadowStatus(self.compared, self.differs, self.failed, pairs, self.not_compared)


def _fixed_replies(policy: Policy, unlike: str | None) -> list[str | None]:
    """The reply of each rule by its number; `unlike`, where it depends on the request or is that of a failure."""
    model = policy.model
    rules = [*model.rules, model.default_rule]
    return [*(unlike if rule.action.template else rule.action.reply.text for rule in rules), unlike]
