"""A past decision, made again: with the policy and tables of then, and with those that are in the files now.

Both are asked as of the time of the decision, and ACLs that remember or ask answer what they answered then: neither the
store nor the world is asked.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.errors import ConfigError
from forkpolicy.history.clock import Clock
from forkpolicy.history.differences import Side, differences, differences_of_line
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.log_lines import read_line
from forkpolicy.history.logged_request import PastRequest
from forkpolicy.history.past import recorded_answers
from forkpolicy.loading import load_everything
from forkpolicy.log_lines import json_value
from forkpolicy.policy.answers import NotAskedError, answered_by
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from forkpolicy.history.differences import Difference
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.answers import Given
    from forkpolicy.policy.evaluate import Looked, Trace
    from forkpolicy.policy.model import Acl, Model
    from forkpolicy.state.store import Question


class PastDecision:
    """One, as the log has it. `line`: its fields."""

    def __init__(self, raw: bytes, code: str) -> None:
        self.line: dict[str, object] = json.loads(raw)
        self.code = code
        # Raw bytes of the request are themselves again, as the policy saw them.
        self.attributes = read_line(raw).attributes or {}
        self.request = Request(dict(self.attributes), None)

    @property
    def is_cut(self) -> bool:
        """Whether not all of the request was kept."""
        return "cut" in self.line

    def decided_by(self, loaded: Loaded, given: Mapping[str, Given]) -> Again:
        """What a policy replies, and why."""
        clock = Clock()
        clock.put_into(loaded.policy)
        clock.turn_to(PastRequest(None, self.attributes, str(self.line["time"])).time_s())
        values = wanted_values(self.request, loaded.policy.wanted)
        trace = loaded.policy.trace(values, answered_by(_not_recorded), given=given)
        text, failure = loaded.policy.result(trace.outcome, values, trace.answers, self.code)
        trace.failure = trace.failure or failure
        return Again(json.loads(json_value(text)), trace, loaded.policy.model)


@dataclass(frozen=True, slots=True)
class Again:
    """A decision that was made again: the reply as the log would have it, and why."""

    action: str
    trace: Trace
    model: Model

    @property
    def side(self) -> Side:
        """To be compared."""
        return Side(self.model, self.trace)

    def looked(self) -> Iterator[Looked]:
        """Everything that was looked at."""
        for tried in self.trace.tried:
            for looked, _ in tried.looked:
                yield from looked.all_looked


@dataclass(frozen=True, slots=True)
class Now:
    """What the policy that is in the files now replies, and what may make that another reply. `again`: None where it
    fails to load, as `action` says then.
    """

    action: str
    but: list[str]
    again: Again | None = None
    differences: tuple[Difference, ...] = ()

    @property
    def rule(self) -> str:
        """The rule that decides."""
        return self.again.trace.outcome.where if self.again else ""


def decided_then(
    decision: PastDecision, opened: Callable[[str, str], AbstractContextManager[Loaded]]
) -> tuple[Again | None, str]:
    """The decision with what is kept of then; without that, why not. `opened`: as `version_of_then` of a directory."""
    line = decision.line
    try:
        with opened(str(line["in_force"]), str(line["host"])) as loaded:
            given = recorded_answers(loaded.policy, line.get("answers"))
            again = decision.decided_by(loaded, given)
    except HistoryError as error:
        return None, str(error)
    where = again.trace.outcome.where
    if (again.action, where) != (line["action"], line["line"]):
        why = f"with what is kept of then it would be {again.action} by {where}"
        return None, f"{why}{'; not all of the request was kept' if decision.is_cut else ''}"
    return again, ""


def decided_now(
    decision: PastDecision, opened: Callable[[], AbstractContextManager[Loaded]], then: Again | None
) -> Now:
    """The decision with the policy and tables that are on disk. `opened`: as `loaded_from` settings."""
    try:
        with opened() as loaded:
            given = recorded_answers(loaded.policy, decision.line.get("answers"))
            if then:
                acls = then.model.acls
                given = {name: each for name, each in given.items() if _is_same(loaded, acls.get(name), name)}
            again = decision.decided_by(loaded, given)
    except ConfigError as error:
        return Now(f"fails to load: {error.first}", [])
    but = [f"on_error: {again.trace.failure}"] if again.trace.failure else []
    but += [*_not_asked(again), *(["not all of the request was kept"] if decision.is_cut else [])]
    is_other = again.action != decision.line["action"] and not again.trace.failure
    found = _differences(decision, then, again) if is_other else []
    return Now(again.action, but, again, tuple(found))


def _differences(decision: PastDecision, then: Again | None, now: Again) -> list[Difference]:
    if then:
        return differences(then.side, now.side)
    if decision.is_cut:
        # What is missing of the request may be all the difference.
        return []
    line = decision.line
    terms = line.get("terms")
    known = [term for term in terms if isinstance(term, dict)] if isinstance(terms, list) else []
    return differences_of_line(str(line["line"]), str(line.get("acls", "")), known, now.side)


@contextmanager
def loaded_from(settings_path: str) -> Iterator[Loaded]:
    """Policy and tables that are on disk; its tables are open until the block ends. Raises ConfigError."""
    loaded = load_everything(settings_path)
    try:
        for table in loaded.all_tables:
            table.refresh()
        yield loaded
    finally:
        for table in loaded.all_tables:
            table.close()


def _is_same(loaded: Loaded, acl: Acl | None, name: str) -> bool:
    """Whether an ACL is declared as it was: only then it would be answered the same."""
    now = loaded.policy.model.acls[name]
    return acl is not None and _declared(acl) == _declared(now)


def _declared(acl: Acl) -> tuple[str, ...]:
    return (acl.type_name, *(word.text for word in acl.words))


def _not_asked(again: Again) -> Iterator[str]:
    """Which ACLs answered as then, and which nobody has asked."""
    given = [(each.acl.name, each.given) for each in again.looked() if each.given]
    as_then = dict.fromkeys(name for name, each in given if each.is_recorded)
    not_asked = dict.fromkeys(name for name, each in given if each.not_asked)
    if as_then:
        yield f"{', '.join(as_then)} answered as then"
    if not_asked:
        yield f"{', '.join(not_asked)} not asked: what it remembers or asks may change this"


def _not_recorded(_question: Question[object]) -> object:
    raise NotAskedError("no answer was recorded")
