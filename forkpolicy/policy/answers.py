"""Answers that may not be asked for twice: those of ACLs that count or wait, for the request at hand.

A request can be evaluated more than once: by the plan, again by `evaluate` where something has failed on the way, and
for a `{match.ACL}` in the reply. All of them ask such an ACL here, so that it is asked once, and what an action
remembers or forgets is done once.

How the store is asked is the mode's: `live` asks and counts, `peeking` looks and leaves everything as it is (explain),
`NOT_ASKED` asks nothing (check, samples), and with `answered_by` somebody else has the answers (the shadow policy).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.errors import StateError
from forkpolicy.policy.matchers.matcher import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.model import Acl, Rule
    from forkpolicy.state.store import Answering, Question

Ask = Callable[["Question[object]"], object]
Answered = Counter[tuple[str, str, str]]
"""How often each (kind of question, ACL or list, result) was answered: what metrics show."""


class NotAskedError(Exception):
    """A question that this mode has no answer to; the message says why."""


class Mode(NamedTuple):
    """How questions are answered. `acts`: whether actions remember and forget."""

    ask: Ask
    acts: bool = False


def live(store: Answering) -> Mode:
    """The store decides, and what it counts is counted."""
    return Mode(store.ask, acts=True)


def peeking(store: Answering) -> Mode:
    """The same answers, and nothing is counted. A store that cannot be read leaves them out."""

    def ask(question: Question[object]) -> object:
        try:
            return store.peek(question)
        except StateError as error:
            raise NotAskedError(f"the store cannot be read: {error}") from error

    return Mode(ask)


def answered_by(ask: Ask) -> Mode:
    """Somebody else has the answers; for others he raises NotAskedError."""
    return Mode(ask)


def _not_asked(_question: Question[object]) -> object:
    raise NotAskedError("not asked")


NOT_ASKED: Final = Mode(_not_asked)


@dataclass(frozen=True, slots=True)
class Given:
    """What an ACL has answered. `holds`: None where that cannot be known; `not_asked`: why nobody asked."""

    holds: bool | None
    finding: Finding | None = None
    failure: Exception | None = None
    not_asked: str = ""
    question: Question[object] | None = None
    answer: object = None


_NOTHING_TO_ASK: Final = Given(holds=False)


class Answers:
    """Of one request, until the next one begins. `answered` counts them; `on_lost` gets what an action could not do."""

    def __init__(self, mode: Mode, on_lost: Callable[[str], None] | None = None) -> None:
        self.mode = mode
        self.answered: Answered = Counter()
        self._on_lost = on_lost
        self._given: dict[int, Given] = {}
        self._done: set[int] = set()

    def begin(self) -> None:
        """Forget the request before."""
        self._given.clear()
        self._done.clear()

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
        """What `{match.ACL}` puts in. An ACL that remembers is not asked for it: it was, or has nothing to say."""
        if acl.remembering:
            given = self._given.get(acl.number)
            found = given.finding if given else None
        else:
            found = self.given(acl, values).finding if acl.asked_once else acl.find(values)
        if found is None:
            return ""
        return (found.entry.value or "") if found.entry else found.value

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
        if deed is None or not self.mode.acts or rule.number in self._done:
            return
        self._done.add(rule.number)
        result = "done"
        try:
            question = deed.question(values)
            if question is None:
                return
            self.mode.ask(question)
        except Exception as error:  # noqa: BLE001 - a table or the store: no list is worth a reply
            result = "lost"
            if self._on_lost:
                self._on_lost(f"action {rule.action.name}: {error}")
        self.answered[deed.verb, deed.list_name, result] += 1

    def _ask(self, acl: Acl, values: Mapping[str, str | None]) -> Given:
        matcher = acl.remembering
        question: Question[object] | None = None
        try:
            if matcher is None:
                found = acl.find(values)
                return Given(found is not None, found)
            question = matcher.question(values)
            if question is None:
                return _NOTHING_TO_ASK
            return self._read(acl, matcher, question, self.mode.ask(question))
        except NotAskedError as error:
            return Given(None, not_asked=str(error), question=question)
        except Exception as error:  # noqa: BLE001 - a failure is an answer, too
            if matcher and question:
                self.answered[question.kind, acl.name, "failed"] += 1
            skips = matcher is not None and matcher.skips and isinstance(error, StateError)
            return Given(None, failure=None if skips else error, question=question)

    def _read(self, acl: Acl, matcher: Matcher, question: Question[object], answer: object) -> Given:
        reading = matcher.read(answer)
        self.answered[question.kind, acl.name, reading.result] += 1
        finding = Finding(acl.name, acl.word.place, value=reading.value) if reading.holds else None
        return Given(reading.holds, finding, question=question, answer=answer)
