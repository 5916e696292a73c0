"""What ACLs that remember or ask have answered a past request, as its line in the history's log has it.

A policy that is asked about such a request again gets these answers: nobody can ask a name server of the past, and what
was counted then is of that time. An ACL is known by its name: whether it is still the same, nobody tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import WorldError
from forkpolicy.policy.answers import Given, Mode, NotAskedError
from forkpolicy.policy.matchers.matcher import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.policy.model import Acl
    from forkpolicy.state.store import Question


class RecordedAnswers:
    """Those of the line at hand: put `answers` there before a policy is asked. `mode`: how it is asked, which asks
    nobody and remembers nothing.
    """

    def __init__(self) -> None:
        self.answers: Mapping[str, object] = {}
        self.mode = Mode(_not_asked, _not_asked, recorded=self)

    def __call__(self, acl: Acl) -> Given | None:
        """What that ACL has answered; None where nobody has asked it."""
        answer = self.answers.get(acl.name)
        return given_of(acl, answer) if isinstance(answer, dict) else None


def given_of(acl: Acl, answer: Mapping[str, object]) -> Given:
    """One answer of a line, as the policy takes it."""
    if "failed" in answer:
        return Given(None, failure=WorldError(str(answer["failed"])), is_recorded=True)
    holds = answer.get("holds")
    value, reason = str(answer.get("value", "")), str(answer.get("reason", ""))
    finding = Finding(acl.name, acl.word.place, value=value) if holds else None
    return Given(holds if isinstance(holds, bool) else None, finding, reason=reason, is_recorded=True)


def _not_asked(_question: Question[object]) -> object:
    raise NotAskedError("not asked then")


def answers_of(line: Mapping[str, object]) -> Mapping[str, object]:
    """The answers in a line, by the names of ACLs; none where it has none."""
    answers = line.get("answers")
    return answers if isinstance(answers, dict) else {}


def term_in_words(term: Mapping[str, object]) -> str:
    """What met a term of the rule that decided, as a line has it."""
    name = str(term.get("acl", "?"))
    by = term.get("by")
    if isinstance(by, dict):
        return f"{name}: by {term_in_words(by)}"
    value = f" = {term['value']}" if "value" in term else ""
    if "entry" in term:
        return f"{name}: {term['entry']}{value} ({term['source']}, table {term['table']})"
    if "found" in term:
        return f"{name}: {term['found']}{value}" + (f" ({term['line']})" if "line" in term else "")
    if "failed" in term:
        return f"{name}: its entry could not be read: {term['failed']}"
    return f"{name}: does not hold" if name.startswith("!") else f"{name}: holds"


def answer_in_words(answer: object) -> str:
    """What an ACL was answered."""
    if not isinstance(answer, dict):
        return str(answer)
    holds = {True: "holds", False: "does not hold", None: "cannot be known"}[answer.get("holds")]
    more = ", ".join(str(answer[name]) for name in ("value", "reason", "failed") if name in answer)
    return f"{'failed' if 'failed' in answer else holds}{f' ({more})' if more else ''}"
