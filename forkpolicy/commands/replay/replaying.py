"""One policy, or two, asked about requests of the past, one after another: how often each rule fired, and to which
requests the two reply differently.

Decides as a worker does: the compiled policy, learnt layouts. Keeps counts and one example for each pair of rules, so
that its memory does not grow with the file, but for what a policy remembers. Raises ProtocolError for bytes that are
not a request.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

from forkpolicy.protocol.layout import Layout, Values, learnable, wanted_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.history.clock import Clock
    from forkpolicy.history.logged_request import PastRequest
    from forkpolicy.history.recorded import RecordedAnswers
    from forkpolicy.policy.model import Rule
    from forkpolicy.policy.policy import Policy
    from forkpolicy.protocol.request import Request
    from forkpolicy.tables.live_table import LiveTable

T = TypeVar("T")


@dataclass(slots=True)
class Judge:
    """One policy, and what it has replied. `hits` by a rule's number; `failures`: why `on_error` was the reply."""

    settings_path: str
    policy: Policy
    tables: dict[str, LiveTable]
    hits: list[int] = field(init=False)
    failures: Counter[str] = field(default_factory=Counter)
    # Each rule's reply, None where attributes are put into it.
    fixed: list[str | None] = field(init=False)
    pick: Callable[[Values], Values] = field(init=False)

    def __post_init__(self) -> None:
        """Prepare what is needed for each request."""
        rules = self.rules
        self.hits = [0] * len(rules)
        self.fixed = [None if rule.action.template else rule.action.reply.text for rule in rules]
        self.policy.on_failure = self._failed

    @property
    def rules(self) -> list[Rule]:
        """Every rule in order, then the end of the policy and failures."""
        return list(self.policy.model.all_rules)

    def _failed(self, why: str) -> None:
        self.failures[why] += 1

    def ask(self, values: Values) -> Rule:
        """Decide, and count."""
        rule = self.policy.decide(values).rule
        self.hits[rule.number] += 1
        if self.policy.noted:
            for noted in self.policy.take_noted():
                self.hits[noted.rule.number] += 1
        return rule

    def text(self, rule: Rule, values: Values) -> str:
        """The reply, with attributes put in."""
        fixed = self.fixed[rule.number]
        return self.policy.text(rule, values) if fixed is None else fixed


@dataclass(slots=True)
class Change:
    """Requests whose verdict changes between two rules: how many, and the first of them."""

    before: Rule
    after: Rule
    action: str
    other_action: str
    example: dict[str, str]
    requests: int = 0


class Replay:
    """Asks one policy, or two, about request after request. `recorded`: gets the answers that each had in the past."""

    def __init__(
        self, judge: Judge, other: Judge | None, clock: Clock, recorded: RecordedAnswers | None = None
    ) -> None:
        self.judge, self.other, self.clock, self.recorded = judge, other, clock, recorded
        self.requests = self.changed = 0
        self.changes: dict[tuple[int, int], Change] = {}
        judges = [each for each in (judge, other) if each]
        self.wanted = tuple(dict.fromkeys(name for each in judges for name in each.policy.wanted))
        for each in judges:
            each.pick = _picker(self.wanted, each.policy.wanted)
        # Tables that both declare are one.
        self.tables = list(dict.fromkeys(table for each in judges for table in each.tables.values()))
        self._layout: Layout | None = None

    def ask(self, past: PastRequest) -> None:
        """One request. Raises ProtocolError for bytes that are not one."""
        values = self._values(past)
        self.requests += 1
        if self.recorded:
            self.recorded.answers = past.answers
        judge = self.judge
        mine = judge.pick(values)
        rule = judge.ask(mine)
        if self.other is None:
            return
        theirs = self.other.pick(values)
        other_rule = self.other.ask(theirs)
        text, other_text = judge.text(rule, mine), self.other.text(other_rule, theirs)
        if text != other_text:
            self._changed(rule, other_rule, text, other_text, past)

    def _changed(self, rule: Rule, other_rule: Rule, text: str, other_text: str, past: PastRequest) -> None:
        self.changed += 1
        pair = rule.number, other_rule.number
        if pair not in self.changes:
            self.changes[pair] = Change(rule, other_rule, text, other_text, self._example(past.request()))
        self.changes[pair].requests += 1

    def _example(self, request: Request) -> dict[str, str]:
        """What either policy reads of a request. The state comes first, and always: without it `explain` takes
        RCPT.
        """
        state = {"protocol_state": request.get("protocol_state")}
        return state | {name: request.attributes[name] for name in self.wanted if name in request.attributes}

    def _values(self, past: PastRequest) -> Values:
        if past.attributes is not None:
            if self.clock.asked_for:
                self.clock.turn_to(past.time_s())
            return wanted_values(past.request(), self.wanted)
        assert past.raw is not None
        if self._layout:
            values = self._layout.values(past.raw)
            if values is not None:
                return values
        request = past.request()
        # As a connection does: most requests have the layout of the previous one.
        names = request.layout
        self._layout = Layout(names, self.wanted) if names and learnable(names) else None
        return wanted_values(request, self.wanted)


def _picker(wanted: tuple[str, ...], own: tuple[str, ...]) -> Callable[[Values], Values]:
    """From everything that either policy reads to what one of them does."""
    if wanted == own:
        return _unchanged
    # Every policy wants several attributes, so this returns a tuple.
    return itemgetter(*(wanted.index(name) for name in own))


def _unchanged(values: T) -> T:
    return values
