"""Answers that may not be asked for twice: those of ACLs that count or wait, for the request at hand.

A request can be evaluated more than once: by the plan, again by `evaluate` where something has failed on the way, for
a `{match.ACL}` in the reply, and from its beginning whenever an answer has come that it waited for. All of them ask
such an ACL here, so that it is asked once, and what an action remembers or forgets is done once.

An answer that takes time raises MustWait. Whoever decides then takes the memo of the request (`detach`), goes on with
others, puts the answer into it once it has come (`receive`), and decides again with it (`resume`).

How is asked is the mode's: `live` asks and counts, `peeking` looks and leaves everything as it is (explain),
`NOT_ASKED` asks nothing (check, samples), with `answered_by` somebody else has the answers (the shadow policy), and
`recorded` are those that a log has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.errors import StateError, WorldError
from forkpolicy.policy.matchers.matcher import Finding
from forkpolicy.protocol.attributes import HELD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.model import Acl, Rule
    from forkpolicy.state.store import Answering, Question

Ask = Callable[["Question[object]"], object]
Answered = Counter[tuple[str, str, str]]
"""How often each (kind of question, ACL or list, result) was answered: what metrics show."""
Lost = Callable[[str], None]
Tell = Callable[["Question[object]", Lost], None]
"""Has something remembered or forgotten, now or later; calls the second argument with the reason if it is lost."""


class NotAskedError(Exception):
    """A question that this mode has no answer to; the message says why."""


class MustWait(BaseException):
    """The answer to `question`, which `acl` has asked, comes later. Not an Exception: an evaluation must not take it
    for an ACL that failed.
    """

    acl: Acl
    question: Question[object]


class Mode(NamedTuple):
    """How questions are answered: by `ask` those to the store, by `ask_world` those to the DNS and to services. Both
    may raise MustWait. `tell`: what actions remember and forget; None: nothing is done. `recorded`: what an ACL has
    answered this request in the past; None: nothing is known of it.
    """

    ask: Ask
    ask_world: Ask
    tell: Tell | None = None
    recorded: Callable[[Acl], Given | None] | None = None


def _not_asked(_question: Question[object]) -> object:
    raise NotAskedError("not asked")


def live(store: Answering, ask_world: Ask = _not_asked, tell: Tell | None = None) -> Mode:
    """The store decides, and what it counts is counted. `tell`: unless it says otherwise, the store is asked."""

    def ask_store(question: Question[object], _lost: Lost) -> None:
        store.ask(question)

    return Mode(store.ask, ask_world, tell or ask_store)


def peeking(store: Answering, ask_world: Ask = _not_asked) -> Mode:
    """The same answers, and nothing is counted. A store that cannot be read leaves them out."""

    def ask(question: Question[object]) -> object:
        try:
            return store.peek(question)
        except StateError as error:
            raise NotAskedError(f"the store cannot be read: {error}") from error

    return Mode(ask, ask_world)


def answered_by(ask: Ask) -> Mode:
    """Somebody else has the answers; for others he raises NotAskedError."""
    return Mode(ask, ask)


NOT_ASKED: Final = Mode(_not_asked, _not_asked)


class Given(NamedTuple):
    """What an ACL has answered. `holds`: None where that cannot be known, with the `reason`; `not_asked`: why nobody
    asked; `is_recorded`: it was answered in the past, and a log has kept that.
    """

    holds: bool | None
    finding: Finding | None = None
    failure: Exception | None = None
    not_asked: str = ""
    reason: str = ""
    question: Question[object] | None = None
    answer: object = None
    is_recorded: bool = False


_NOTHING_TO_ASK: Final = Given(holds=False)
_OF_HELD_MAIL: Final = Given(None, reason="nothing is asked or counted of held mail (policy_context held-...)")


class Memo(NamedTuple):
    """What one request has been answered, by the number of the ACL, and which rules have acted for it."""

    given: dict[int, Given]
    done: set[int]


class Answers:
    """Of one request, until the next one begins. `answered` counts them; `on_lost` gets what an action could not do;
    `given` is known already, by the numbers of ACLs.
    """

    def __init__(
        self, mode: Mode, on_lost: Callable[[str], None] | None = None, given: Mapping[int, Given] | None = None
    ) -> None:
        self.mode = mode
        self.answered: Answered = Counter()
        self._on_lost = on_lost
        self._given: dict[int, Given] = dict(given or {})
        self._done: set[int] = set()
        self._resumed = False

    def begin(self) -> None:
        """Forget the previous request, but for one that is decided again."""
        if self._resumed:
            self._resumed = False
        else:
            self._given.clear()
            self._done.clear()

    def detach(self) -> Memo:
        """What the request at hand has been answered, for when it is decided again."""
        memo = Memo(self._given, self._done)
        self._given, self._done = {}, set()
        return memo

    def resume(self, memo: Memo) -> None:
        """The next request that begins is that one."""
        self._given, self._done = memo
        self._resumed = True

    def receive(self, memo: Memo, wait: MustWait, answer: object) -> None:
        """The answer that a request waited for has come; an exception, if it never will."""
        acl, question = wait.acl, wait.question
        matcher = acl.asks
        assert matcher is not None
        if isinstance(answer, Exception):
            given = self._not_given(acl, matcher, question, answer)
        else:
            given = self._read(acl, matcher, question, answer)
        memo.given[acl.number] = given

    def given(self, acl: Acl, values: Mapping[str, str | None]) -> Given:
        """What an ACL that is asked once answers."""
        given = self._given.get(acl.number)
        if given is None:
            given = self._given[acl.number] = self._ask(acl, values)
        return given

    def holds(self, acl: Acl, values: Mapping[str, str | None]) -> bool | None:
        """The same for the plan; None: it cannot be known. What it raised it raises again."""
        given = self.given(acl, values)
        if given.failure:
            raise given.failure
        return given.holds

    def value(self, acl: Acl, values: Mapping[str, str | None]) -> str:
        """What `{match.ACL}` puts in; of an ACL of type `any` that of the term that was met. An ACL that is asked once
        is not asked for it: it was, or has nothing to say.
        """
        found = self.finding(acl, values)
        if found is None:
            return ""
        return (found.entry.value or "") if found.entry else found.value

    def finding(self, acl: Acl, values: Mapping[str, str | None]) -> Finding | None:
        """What makes an ACL hold; of one that is asked once, what it has answered."""
        if acl.terms:
            met = self.met_term(acl, values)
            return self.finding(met[0], values) if met and not met[1] else None
        if acl.is_score:
            return None
        if not acl.asked_once:
            return acl.find(values)
        given = self._given.get(acl.number)
        return given.finding if given else None

    def met_term(self, acl: Acl, values: Mapping[str, str | None]) -> tuple[Acl, bool] | None:
        """The term by which an ACL of type `any` holds. None where there is none, and behind one for a score, whose
        answer was another one then.
        """
        for term, negated in acl.terms:
            if term.changes or self._answer(term, values) is (not negated):
                return None if term.changes else (term, negated)
        return None

    def known(self, acl: Acl) -> Given | None:
        """What an ACL that is asked once has answered; None where nobody has asked."""
        return self._given.get(acl.number)

    def _answer(self, acl: Acl, values: Mapping[str, str | None]) -> bool | None:
        """What an ACL has answered this request. None: it cannot be known, has failed, or was not asked."""
        if acl.terms:
            met = [None if (one := self._answer(term, values)) is None else one is not not_ for term, not_ in acl.terms]
            return True if True in met else None if None in met else False
        if acl.asked_once:
            given = self._given.get(acl.number)
            return given.holds if given else None
        if acl.unknown_attribute(values, values["protocol_state"] or ""):
            return None
        try:
            return acl.find(values) is not None
        except Exception:  # noqa: BLE001 - what fails is not met
            return None

    def answer_to(self, question: Question[object]) -> object:
        """What an equal question of this request was answered. Raises NotAskedError, and what the store raised."""
        for given in self._given.values():
            if given.question == question and given.failure:
                raise given.failure
            if given.question == question and given.holds is not None:
                return given.answer
        raise NotAskedError("asked nobody")

    def act(self, rule: Rule, values: Mapping[str, str | None]) -> None:
        """Do what a rule's action does to a list, once a request. What fails is lost: the request goes on."""
        deed = rule.action.deed
        if deed is None or self.mode.tell is None or rule.number in self._done or _is_held(values):
            return
        self._done.add(rule.number)
        counted = deed.verb, deed.list_name

        def lost(why: str) -> None:
            self.answered[(*counted, "done")] -= 1
            self.answered[(*counted, "lost")] += 1
            if self._on_lost:
                self._on_lost(f"action {rule.action.name}: {why}")

        try:
            question = deed.question(values)
            if question is None:
                return
            self.answered[(*counted, "done")] += 1
            self.mode.tell(question, lost)
        except Exception as error:  # noqa: BLE001 - a table or the store: no list is worth a reply
            lost(str(error))

    def _ask(self, acl: Acl, values: Mapping[str, str | None]) -> Given:
        matcher = acl.asks
        assert matcher is not None
        if _is_held(values):
            return _OF_HELD_MAIL
        if self.mode.recorded and (given := self.mode.recorded(acl)):
            return given
        question: Question[object] | None = None
        try:
            question = matcher.question(values)
            if question is None:
                return _NOTHING_TO_ASK
            ask = self.mode.ask if acl.remembering else self._ask_world
            return self._read(acl, matcher, question, ask(question))
        except MustWait as wait:
            assert question is not None
            wait.acl, wait.question = acl, question
            raise
        except Exception as error:  # noqa: BLE001 - a failure is an answer, too
            return self._not_given(acl, matcher, question, error)

    def _ask_world(self, question: Question[object]) -> object:
        """Ask, unless another ACL of this request has asked the same: a service may count what it is asked."""
        for given in self._given.values():
            if given.question == question and not given.not_asked:
                if given.failure:
                    raise given.failure
                if given.answer is None:
                    raise WorldError(given.reason)
                return given.answer
        return self.mode.ask_world(question)

    def _read(self, acl: Acl, matcher: Matcher, question: Question[object], answer: object) -> Given:
        try:
            reading = matcher.read(answer)
        except Exception as error:  # noqa: BLE001 - the same
            return self._not_given(acl, matcher, question, error)
        self.answered[question.kind, acl.name, reading.result] += 1
        finding = Finding(acl.name, acl.word.place, value=reading.value) if reading.holds else None
        return Given(reading.holds, finding, question=question, answer=answer, reason=reading.reason)

    def _not_given(self, acl: Acl, matcher: Matcher, question: Question[object] | None, error: Exception) -> Given:
        """Why there is no answer."""
        if isinstance(error, NotAskedError):
            return Given(None, not_asked=str(error), question=question)
        if question:
            self.answered[question.kind, acl.name, "failed"] += 1
        if matcher.skips and isinstance(error, (StateError, WorldError)):
            return Given(None, reason=str(error), question=question)
        return Given(None, failure=error, question=question)


def _is_held(values: Mapping[str, str | None]) -> bool:
    """Whether the gateway's store asks, about mail that was decided about when it came in."""
    return (values["policy_context"] or "").startswith(HELD)
