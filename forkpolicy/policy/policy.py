"""A policy that decides: its plan for the common way, `evaluate` for whatever fails in it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from forkpolicy.errors import ForkpolicyError
from forkpolicy.policy.answers import NOT_ASKED, Answers, answered_by, live, peeking
from forkpolicy.policy.evaluate import evaluate
from forkpolicy.policy.outcome import Outcome
from forkpolicy.policy.results import WHOLE_REPLY, whole_reply
from forkpolicy.policy.template import SHOWN_CODE
from forkpolicy.postfix.addresses import door
from forkpolicy.protocol.attributes import ATTRIBUTES
from forkpolicy.protocol.reply import ONE_WORD, VERBS, encode, parse_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from forkpolicy.policy.answers import Answered, Ask, Given, Memo, Mode, MustWait
    from forkpolicy.policy.evaluate import Trace
    from forkpolicy.policy.matchers.matcher import Finding, Lookup
    from forkpolicy.policy.model import Acl, Model, Rule
    from forkpolicy.postfix.addresses import Views
    from forkpolicy.protocol.layout import Values
    from forkpolicy.state.store import Answering, Question

# What every policy reads: the state decides what is known, the others stand in every decision's log line. Capturing
# one costs 30 ns, parsing a request the exact way for a log line would cost 7 us.
ALWAYS_WANTED = ("protocol_state", "client_address", "sender", "recipient", "sasl_username", "queue_id")


class Policy:
    """A loaded policy. `wanted`: the attributes that it reads, in the order in which `decide` takes their values.

    Values come as Postfix sent them; `views` (postfix/addresses.py) say how the policy sees those that are addresses.
    `on_failure` is called with the reason each time an evaluation failed, and `on_lost` with what could not be
    remembered; their owner decides how often that is logged. `store` has what the policy remembers.
    """

    def __init__(
        self,
        model: Model,
        paths: tuple[str, ...],
        *,
        views: Views | None = None,
        index_costs_us: Mapping[type, float] | None = None,
        also_wanted: Sequence[str] = (),
        store: Answering | None = None,
        restricted: Collection[str] = (),
    ) -> None:
        self.model = model
        self.restricted = tuple(sorted(restricted))
        self.remembers = model.remembers
        self.asks_world = model.asks_world
        self._store = store
        self.paths = paths
        # In the order in which Postfix sends them: nothing must be put in order for each request.
        listed = list(ATTRIBUTES)
        asked = dict.fromkeys((*ALWAYS_WANTED, *_asked(model), *also_wanted))
        self.wanted = tuple(sorted(asked, key=lambda name: listed.index(name) if name in ATTRIBUTES else len(listed)))
        positions = {name: at for at, name in enumerate(self.wanted)}
        views = views or {}
        self._understood = door(self.wanted, views)
        self._renders = {
            name: whole_reply(action.template)
            if action.verb == WHOLE_REPLY
            else action.template.bound(positions, views, whole=VERBS.get(action.verb) in ONE_WORD)
            for name, action in model.actions.items()
            if action.template
        }
        self.outcomes = tuple(Outcome(rule) for rule in model.all_rules)
        self.noted: list[Outcome] = []
        self.on_failure: Callable[[str], None] = _ignore
        self.on_lost: Callable[[str], None] = _ignore
        self._asked_once = [acl for acl in model.acls.values() if acl.asked_once]
        self._answers = Answers(live(store) if store else NOT_ASKED, self._lost)
        self._views, self._index_costs_us = views, index_costs_us

    @cached_property
    def _planned(self) -> Callable[..., Outcome]:
        """The plan. Who only explains needs none."""
        from forkpolicy.policy.plan.plan import plan  # noqa: PLC0415 - a tenth of what `explain` would import

        return plan(
            self.model, self.wanted, self.outcomes, self.noted, self._views, self._answers, self._index_costs_us
        )

    def prepare(self) -> None:
        """Make the plan now, and not with the first decision."""
        _ = self._planned

    @property
    def tables(self) -> Mapping[str, Lookup]:
        """The tables that the policy declares, by name."""
        return self.model.tables

    @property
    def answered(self) -> Answered:
        """How often the store has answered what; it only grows."""
        return self._answers.answered

    def remember_in(self, store: Answering) -> None:
        """Ask this store from now on, and not the world."""
        self._store, self._answers.mode = store, live(store)

    def answer_with(self, mode: Mode) -> None:
        """Ask in this way from now on."""
        self._answers.mode = mode

    def answer_by(self, ask: Ask) -> None:
        """Ask somebody else from now on, who may raise NotAskedError; nothing is remembered."""
        self._answers.mode = answered_by(ask)

    def answer_to(self, question: Question[object]) -> object:
        """What the store has answered an equal question of the last decision. Raises NotAskedError if it was not asked,
        and what the store has raised.
        """
        return self._answers.answer_to(question)

    @property
    def peeking(self) -> Mode:
        """For `trace`: what the store would answer now, and nothing is counted."""
        return peeking(self._store) if self._store else NOT_ASKED

    def detach(self) -> Memo:
        """After MustWait: what the request has been answered so far. Others may be decided then."""
        self.noted.clear()
        return self._answers.detach()

    def receive(self, memo: Memo, wait: MustWait, answer: object) -> None:
        """Put the answer (an exception, if there will be none) into the memo of the request that waited for it."""
        self._answers.receive(memo, wait, answer)

    def resume(self, memo: Memo) -> None:
        """The next request that is decided is the one of this memo."""
        self._answers.resume(memo)

    def decide(self, values: Values) -> Outcome:
        """The rule that decides; `noted` has the rules that noted or remembered something, until `take_noted`.

        Raises MustWait if it takes time to answer an ACL; nothing else.
        """
        planned = self._planned
        try:
            return planned(*values)
        except Exception:  # noqa: BLE001 - a table or our own bug: what failed is weighed against the rest of its rule
            self.noted.clear()
            return self._decide_exactly(values)

    def trace(
        self,
        values: Values,
        mode: Mode = NOT_ASKED,
        *,
        all_rules: bool = False,
        given: Mapping[str, Given] | None = None,
    ) -> Trace:
        """Decide the slow way and say why. Unless `mode` says how, the store is not asked. `given`: known answers of
        ACLs that are asked once, by name.
        """
        known = {self.model.acls[name].number: answer for name, answer in (given or {}).items()}
        return self._trace(values, Answers(mode, given=known), all_rules=all_rules)

    def _trace(self, values: Values, answers: Answers, *, all_rules: bool = False) -> Trace:
        seen = self._understood(values)
        trace = evaluate(self.model, dict(zip(self.wanted, seen, strict=True)), answers, all_rules=all_rules)
        pairs = zip(self.wanted, values, seen, strict=True)
        trace.rewritten = {name: understood or "" for name, value, understood in pairs if understood != value}
        return trace

    def take_noted(self) -> list[Outcome]:
        """The rules that noted or remembered something on the way to the last decision."""
        noted = list(self.noted)
        self.noted.clear()
        return noted

    def reply(self, rule: Rule, values: Values, code: str = SHOWN_CODE) -> bytes:
        """The bytes of a rule's reply; those of `on_error` where what was put in does not make a valid one. `code`: the
        id under which the decision is logged.
        """
        if rule.action.encoded:
            return rule.action.encoded
        text, failure = self.result(rule, values, code=code)
        if failure:
            self.on_failure(failure)
        return encode(text)

    def text(self, rule: Rule, values: Values) -> str:
        """The reply (or the note of a `log` action) of a rule for one request, everything put in and cleaned."""
        return self.result(rule, values)[0]

    def result(
        self, rule: Rule, values: Values, answers: Answers | None = None, code: str = SHOWN_CODE
    ) -> tuple[str, str]:
        """The text of a rule's reply, and why it is that of `on_error` where it is. `answers`: those of a trace, else
        those of the last decision.
        """
        action = rule.action
        render = self._renders.get(action.name)
        if render is None:
            return action.reply.text, ""
        given = answers or self._answers
        try:
            text = render(values, lambda name, of: self._matched(name, of, given), code)
            if action.checked:
                parse_reply(text)
        except (ValueError, ForkpolicyError) as error:
            failure = f"action {action.name}: {error}"
            return self.model.error_rule.action.reply.text if action.kind == "reply" else f"log {failure}", failure
        return text, ""

    @property
    def asks_once(self) -> bool:
        """Whether it has ACLs that remember or ask."""
        return bool(self._asked_once)

    def understood(self, values: Values) -> Values:
        """The values of a request as the policy sees them."""
        return self._understood(values)

    def finding(self, acl: Acl, seen: Mapping[str, str | None]) -> Finding | None:
        """What made an ACL hold for the last decision. Raises whatever a matcher cannot answer any more."""
        return self._answers.finding(acl, seen)

    def met_term(self, acl: Acl, seen: Mapping[str, str | None]) -> tuple[Acl, bool] | None:
        """The term by which an ACL of type `any` held for the last decision, where that is known."""
        return self._answers.met_term(acl, seen)

    def given(self) -> Mapping[str, Given]:
        """What each ACL that is asked once has answered for the last decision, by its name."""
        return {acl.name: given for acl in self._asked_once if (given := self._answers.known(acl))}

    def _matched(self, acl_name: str, values: Values, answers: Answers) -> str:
        seen = dict(zip(self.wanted, self._understood(values), strict=True))
        return answers.value(self.model.acls[acl_name], seen)

    def _lost(self, why: str) -> None:
        self.on_lost(why)

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
            yield from acl.reads
    for action in model.actions.values():
        if action.template:
            yield from action.template.attributes
            for name in action.template.matches:
                yield from model.acls[name].reads
        if action.deed:
            yield from action.deed.attributes
            yield "policy_context"


def _ignore(_failure: str) -> None:
    pass
