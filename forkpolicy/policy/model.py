"""What a policy means, resolved: ACLs with their matchers, actions with their replies, lines in order.

`resolve` makes it; `evaluate`, `codegen` and `checks` read it. The only thing that changes after loading is how
often each line has fired.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from forkpolicy.policy.matchers.matcher import attributes_of
from forkpolicy.protocol.attributes import attribute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.policy.matchers.matcher import Finding, Lookup, Matcher
    from forkpolicy.policy.nodes import Place, Word
    from forkpolicy.policy.template import Template
    from forkpolicy.protocol.reply import Reply

DEFAULT_ACTION = "default"


@dataclass(slots=True)
class Acl:
    """One ACL: it holds when one of its matchers does. `number` is its index in the policy, `word` its name in its
    place.
    """

    number: int
    word: Word
    type_name: str
    words: tuple[Word, ...]
    matchers: tuple[Matcher, ...]
    silent: bool = False
    name: str = field(init=False)
    attributes: tuple[str, ...] = field(init=False)
    # Whether it asks for the score so far: the one answer that changes within a request.
    is_score: bool = field(init=False)

    def __post_init__(self) -> None:
        """Derive what the ACL asks a request for."""
        self.name = self.word.text
        self.attributes = attributes_of(self.matchers)
        self.is_score = self.type_name == "score"

    def unknown_attribute(self, values: Mapping[str, str | None], state: str) -> str | None:
        """The first attribute that is not known at this state, None when all are."""
        return next((name for name in self.attributes if not attribute(name).known(values[name], state)), None)

    def find(self, values: Mapping[str, str | None], score: float = 0.0) -> Finding | None:
        """What makes it hold, None when nothing does. Raises whatever a matcher cannot answer."""
        if self.is_score:
            return self.matchers[0].find(str(score))
        failure: Exception | None = None
        for matcher in self.matchers:
            try:
                found = matcher.find(*(values[name] or "" for name in matcher.attributes))
            except Exception as error:  # noqa: BLE001 - one value that holds is enough, whatever fails beside it
                failure = error
                continue
            if found:
                return found
        if failure:
            raise failure
        return None


@dataclass(frozen=True, slots=True)
class Action:
    """One action. `kind`: reply ends the evaluation, log and score note something and go on to the next line.
    `checked`: what is put in may make the reply malformed, so that each one is checked.
    """

    name: str
    kind: Literal["reply", "log", "score"]
    place: Place | None
    reply: Reply
    template: Template | None = None
    amount: float = 0.0
    encoded: bytes = b""
    checked: bool = False

    @property
    def verb(self) -> str:
        """REJECT, DUNNO, 4xx ...: what counters and summaries group by."""
        return self.reply.verb


@dataclass(slots=True)
class Line:
    """One `access` line, or the end of the policy where none fired (`place` is None). `hits`: how often it has
    fired.
    """

    number: int
    place: Place | None
    clauses: tuple[tuple[Acl, bool], ...]
    action: Action
    hits: int = 0
    # The reply, when it can go out with nothing put in and nothing logged; whoever serves knows and sets it.
    plain: bytes = b""

    shown_acls: str = field(init=False)
    where: str = field(init=False)

    def __post_init__(self) -> None:
        """Derive what log lines say of it: `file:line` (or what stands for the end), and the ACLs that are not
        silent.
        """
        self.shown_acls = " ".join(
            f"{'!' if negated else ''}{acl.name}" for acl, negated in self.clauses if not acl.silent
        )
        self.where = str(self.place) if self.place else self.action.name

    @property
    def text(self) -> str:
        """The line as it was meant, for logs and explanations."""
        words = [f"{'!' if negated else ''}{acl.name}" for acl, negated in self.clauses]
        return " ".join(["access", *words, self.action.name])


@dataclass(slots=True)
class Model:
    """A whole policy."""

    acls: dict[str, Acl]
    actions: dict[str, Action]
    lines: list[Line]
    tables: dict[str, Lookup]
    default_line: Line
    error_line: Line

    def matched_value(self, acl_name: str, values: Mapping[str, str | None]) -> str:
        """The value of the table entry that an ACL finds for a request; empty when there is none."""
        found = self.acls[acl_name].find(values)
        return (found.entry.value or "") if found and found.entry else ""
