"""The exact and slow way to a decision: what the language says, step by step, with everything that was looked at.

`explain` shows its trace. The compiled policy falls back to it when an ACL fails, because only here a failing ACL
is weighed against the rest of its rule: does the rest not hold anyway, the rule is passed over, else the request
gets `on_error`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.errors import ForkpolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.policy.answers import Answers, Given
    from forkpolicy.policy.matchers.matcher import Finding
    from forkpolicy.policy.model import Acl, Model, Rule


class Answer(enum.Enum):
    """What an ACL says of a request."""

    HOLDS = "holds"
    NOT = "does not hold"
    UNKNOWN = "cannot be known"
    FAILED = "failed"
    NOT_ASKED = "not asked"


class Looked(NamedTuple):
    """One ACL that was looked at. `finding`: what makes it hold, or the entry whose value is not as wanted; `reason`:
    the attribute that is not known, why it failed, was not asked or got no answer, or the score so far; `given`: what
    one answered that is asked once; `terms`: what one of type `any` has looked at, and whether each was negated.
    """

    acl: Acl
    answer: Answer
    finding: Finding | None = None
    reason: str = ""
    given: Given | None = None
    terms: tuple[tuple[Looked, bool], ...] = ()

    @property
    def all_looked(self) -> tuple[Looked, ...]:
        """Itself, and whatever its terms have looked at."""
        return (self, *(each for looked, _ in self.terms for each in looked.all_looked))

    def is_met(self, *, negated: bool) -> bool:
        """Whether the term is met that this is the ACL of."""
        return self.answer is (Answer.NOT if negated else Answer.HOLDS)


@dataclass(slots=True)
class Tried:
    """One rule that was tried: what was looked at, and whether it fired or would have but for a failure."""

    rule: Rule
    looked: list[tuple[Looked, bool]] = field(default_factory=list)
    fired: bool = False
    failed: bool = False


@dataclass(slots=True)
class Trace:
    """A whole evaluation. `outcome` decided; `noted` are the rules that noted or remembered something on the way;
    `failure` what failed; `answers` are of this evaluation; `rewritten` the addresses that the policy sees other than
    they came.
    """

    outcome: Rule
    tried: list[Tried]
    noted: list[Rule]
    failure: str = ""
    score: float = 0.0
    answers: Answers | None = None
    rewritten: dict[str, str] = field(default_factory=dict)


def evaluate(model: Model, values: Mapping[str, str | None], answers: Answers, *, all_rules: bool = False) -> Trace:
    """Decide one request. `values` has every attribute that the policy reads; `answers` what was given for this request
    and may not be asked for again. `all_rules` goes on past the decision.
    """
    run = _Run(model, values, answers)
    outcome: Rule | None = None
    for rule in model.rules:
        tried = run.try_rule(rule)
        if (tried.fired or tried.failed) and outcome is None:
            outcome = run.effect(tried)
            if outcome and not all_rules:
                break
    trace = Trace(outcome or model.default_rule, run.tried, run.noted, "", run.score)
    trace.answers = answers
    trace.failure = run.failure if trace.outcome is model.error_rule else ""
    return trace


class _Run:
    """One request on its way down the rules."""

    def __init__(self, model: Model, values: Mapping[str, str | None], answers: Answers) -> None:
        self.model = model
        self.given = answers
        self.values = values
        self.state = values.get("protocol_state") or ""
        self.answers: dict[int, Looked] = {}
        self.tried: list[Tried] = []
        self.noted: list[Rule] = []
        self.score = 0.0
        self.failure = ""

    def try_rule(self, rule: Rule) -> Tried:
        """Look at the rule's ACLs from left to right and no further than needed."""
        tried = Tried(rule)
        self.tried.append(tried)
        for acl, negated in rule.terms:
            if tried.failed and acl.asked_once:
                # Nobody knows whether what stands left of it is met: it is not asked, and taken as met.
                continue
            looked = self.look(acl)
            tried.looked.append((looked, negated))
            if looked.answer is Answer.FAILED:
                tried.failed = True
                self.failure = f"acl {acl.name}: {looked.reason}"
            elif not looked.is_met(negated=negated):
                tried.failed = False
                return tried
        tried.fired = not tried.failed
        return tried

    def look(self, acl: Acl) -> Looked:
        """Ask an ACL, at most once a request; the score alone may change meanwhile."""
        looked = self.answers.get(acl.number)
        if looked is None or acl.changes:
            looked = self.answers[acl.number] = self._ask(acl)
        return looked

    def _ask(self, acl: Acl) -> Looked:
        if acl.terms:
            return self._ask_terms(acl)
        unknown = acl.unknown_attribute(self.values, self.state)
        if unknown:
            return Looked(acl, Answer.UNKNOWN, reason=unknown)
        if acl.asked_once:
            return _looked(acl, self.given.given(acl, self.values))
        try:
            found = acl.find(self.values, self.score)
        except Exception as error:  # noqa: BLE001 - whatever fails, a table or our own code, is never "does not hold"
            return Looked(acl, Answer.FAILED, reason=_why(error))
        reason = f"score {self.score:g}" if acl.is_score else ""
        return Looked(acl, Answer.HOLDS if found else Answer.NOT, found or acl.missed(self.values), reason)

    def _ask_terms(self, acl: Acl) -> Looked:
        """Up to the first that is met. None is: it fails if one failed, and cannot be known if one cannot."""
        looked: list[tuple[Looked, bool]] = []
        for term, negated in acl.terms:
            each = self.look(term)
            looked.append((each, negated))
            if each.is_met(negated=negated):
                finding = None if negated else each.finding
                return Looked(acl, Answer.HOLDS, finding, f"{'!' * negated}{term.name} is met", terms=tuple(looked))
        for answer in (Answer.FAILED, Answer.NOT_ASKED, Answer.UNKNOWN):
            found = next((each for each, _ in looked if each.answer is answer), None)
            if found:
                reason = f"acl {found.acl.name}: {found.reason}" if answer is Answer.FAILED else _no_answer(found)
                return Looked(acl, answer, reason=reason, terms=tuple(looked))
        return Looked(acl, Answer.NOT, reason="no term is met", terms=tuple(looked))

    def effect(self, tried: Tried) -> Rule | None:
        """What a fired (or failed) rule does: decide, or note something and go on."""
        rule = tried.rule
        if tried.failed:
            return None if rule.is_note else self.model.error_rule
        if rule.action.kind == "score":
            self.score += rule.action.amount
            return None
        if rule.action.kind == "deed":
            self.given.act(rule, self.values)
        if rule.action.kind in {"log", "deed"}:
            self.noted.append(rule)
            return None
        return rule


def _looked(acl: Acl, given: Given) -> Looked:
    """An ACL that is asked once, with what it answered."""
    if given.failure:
        return Looked(acl, Answer.FAILED, reason=_why(given.failure), given=given)
    if given.not_asked:
        return Looked(acl, Answer.NOT_ASKED, reason=given.not_asked, given=given)
    answers = {True: Answer.HOLDS, False: Answer.NOT, None: Answer.UNKNOWN}
    return Looked(acl, answers[given.holds], given.finding, given.reason, given)


def _no_answer(looked: Looked) -> str:
    return (
        f"{looked.acl.name} was not asked"
        if looked.answer is Answer.NOT_ASKED
        else f"{looked.acl.name} cannot be known"
    )


def _why(error: Exception) -> str:
    """Why an ACL failed, for operators: in the words of our own errors; a bug has the name of its kind, too."""
    return str(error) if isinstance(error, ForkpolicyError) else f"{type(error).__name__}: {error}"
