"""A policy that decides: its plan for the common way, `evaluate` for whatever fails in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import ForkpolicyError
from forkpolicy.policy.answers import Answers
from forkpolicy.policy.evaluate import evaluate
from forkpolicy.policy.outcome import Outcome
from forkpolicy.policy.plan.index import COSTS_US
from forkpolicy.policy.plan.plan import plan
from forkpolicy.postfix.addresses import door
from forkpolicy.protocol.attributes import ATTRIBUTES
from forkpolicy.protocol.reply import ONE_WORD, VERBS, encode, parse_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from forkpolicy.policy.evaluate import Trace
    from forkpolicy.policy.matchers.matcher import Lookup
    from forkpolicy.policy.model import Model, Rule
    from forkpolicy.postfix.addresses import Views
    from forkpolicy.protocol.layout import Values

# What every policy reads: the state decides what is known, the others stand in every decision's log line. Capturing
# one costs 30 ns, parsing a request the exact way for a log line would cost 7 us.
ALWAYS_WANTED = ("protocol_state", "client_address", "sender", "recipient", "sasl_username", "queue_id")


class Policy:
    """A loaded policy. `wanted`: the attributes that it reads, in the order in which `decide` takes their values.

    Values come as Postfix sent them; `views` (postfix/addresses.py) say how the policy sees those that are addresses.
    `on_failure` is called with the reason each time an evaluation failed; its owner decides how often that is logged.
    """

    def __init__(
        self,
        model: Model,
        paths: tuple[str, ...],
        *,
        views: Views | None = None,
        index_costs_us: Mapping[type, float] = COSTS_US,
        also_wanted: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.paths = paths
        # In the order in which Postfix sends them: nothing must be put in order for each request.
        listed = list(ATTRIBUTES)
        asked = dict.fromkeys((*ALWAYS_WANTED, *_asked(model), *also_wanted))
        self.wanted = tuple(sorted(asked, key=lambda name: listed.index(name) if name in ATTRIBUTES else len(listed)))
        positions = {name: at for at, name in enumerate(self.wanted)}
        views = views or {}
        self._understood = door(self.wanted, views)
        self._renders = {
            name: action.template.bound(positions, views, whole=VERBS.get(action.verb) in ONE_WORD)
            for name, action in model.actions.items()
            if action.template
        }
        self.outcomes = tuple(Outcome(rule) for rule in model.all_rules)
        self.noted: list[Outcome] = []
        self.on_failure: Callable[[str], None] = _ignore
        self._answers = Answers()
        self._planned = plan(model, self.wanted, self.outcomes, self.noted, views, self._answers, index_costs_us)

    @property
    def tables(self) -> Mapping[str, Lookup]:
        """The tables that the policy declares, by name."""
        return self.model.tables

    def decide(self, values: Values) -> Outcome:
        """The rule that decides; `noted` has the `log` rules that fired on the way, until `take_noted`."""
        try:
            return self._planned(*values)
        except Exception:  # noqa: BLE001 - a table or our own bug: what failed is weighed against the rest of its rule
            self.noted.clear()
            return self._decide_exactly(values)

    def trace(self, values: Values, *, all_rules: bool = False) -> Trace:
        """Decide the slow way and say why."""
        return self._trace(values, Answers(), all_rules=all_rules)

    def _trace(self, values: Values, answers: Answers, *, all_rules: bool = False) -> Trace:
        seen = self._understood(values)
        trace = evaluate(self.model, dict(zip(self.wanted, seen, strict=True)), answers, all_rules=all_rules)
        pairs = zip(self.wanted, values, seen, strict=True)
        trace.rewritten = {name: understood or "" for name, value, understood in pairs if understood != value}
        return trace

    def take_noted(self) -> list[Outcome]:
        """The `log` rules of the last decision."""
        noted = list(self.noted)
        self.noted.clear()
        return noted

    def reply(self, rule: Rule, values: Values) -> bytes:
        """The bytes of a rule's reply; those of `on_error` where what was put in does not make a valid one."""
        if rule.action.encoded:
            return rule.action.encoded
        text, failure = self.result(rule, values)
        if failure:
            self.on_failure(failure)
        return encode(text)

    def text(self, rule: Rule, values: Values) -> str:
        """The reply (or the note of a `log` action) of a rule for one request, everything put in and cleaned."""
        return self.result(rule, values)[0]

    def result(self, rule: Rule, values: Values) -> tuple[str, str]:
        """The text of a rule's reply, and why it is that of `on_error` where it is."""
        action = rule.action
        render = self._renders.get(action.name)
        if render is None:
            return action.reply.text, ""
        try:
            text = render(values, self._matched)
            if action.checked:
                parse_reply(text)
        except (ValueError, ForkpolicyError) as error:
            failure = f"action {action.name}: {error}"
            return self.model.error_rule.action.reply.text if action.kind == "reply" else f"log {failure}", failure
        return text, ""

    def _matched(self, acl_name: str, values: Values) -> str:
        seen = dict(zip(self.wanted, self._understood(values), strict=True))
        found = self._answers.find(self.model.acls[acl_name], seen)
        return (found.entry.value or "") if found and found.entry else ""

    def _decide_exactly(self, values: Values) -> Outcome:
        trace = self._trace(values, self._answers)
        if trace.failure:
            self.on_failure(trace.failure)
        self.noted.extend(self.outcomes[rule.number] for rule in trace.noted)
        return self.outcomes[trace.outcome.number]


def _asked(model: Model) -> Iterator[str]:
    """Every attribute that rules ask for or that actions put in."""
    for rule in model.rules:
        for acl, _ in rule.terms:
            yield from acl.attributes
    for action in model.actions.values():
        if action.template:
            yield from action.template.attributes
            for name in action.template.matches:
                yield from model.acls[name].attributes


def _ignore(_failure: str) -> None:
    pass
