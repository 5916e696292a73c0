"""What a policy means, resolved: ACLs with their matchers, actions with their replies, rules in order.

`resolve` makes it; `evaluate`, `plan` and `checks` read it. It never changes: what a worker counts is in its outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from forkpolicy.policy.matchers.matcher import Asking, attributes_of
from forkpolicy.protocol.attributes import STATES, attribute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.policy.matchers.matcher import Finding, Lookup, Matcher
    from forkpolicy.policy.matchers.remembering.deeds import Deed
    from forkpolicy.policy.nodes import Place, Word
    from forkpolicy.policy.template import Template
    from forkpolicy.protocol.reply import Reply
    from forkpolicy.world.dnsbl import Zone

DEFAULT_ACTION = "default"


@dataclass(frozen=True, eq=False)
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

    @cached_property
    def name(self) -> str:
        """As the policy declares it."""
        return self.word.text

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """What it asks a request for."""
        return attributes_of(self.matchers)

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """The same, and what it reads whether it is known or not."""
        also = (name for matcher in self.matchers for name in matcher.also_reads)
        return tuple(dict.fromkeys((*self.attributes, *also)))

    @cached_property
    def known_states(self) -> frozenset[str]:
        """The protocol states at which it can be known, apart from what its attributes say."""
        return frozenset(STATES).intersection(*(matcher.known_states for matcher in self.matchers))

    @cached_property
    def is_score(self) -> bool:
        """Whether it asks for the score so far: the one answer that changes within a request."""
        return self.type_name == "score"

    @cached_property
    def asked_once(self) -> bool:
        """Whether asking it counts or waits, so that a request asks it when its turn comes, and never again."""
        return any(matcher.asking & (Asking.COUNTS | Asking.WAITS) for matcher in self.matchers)

    @cached_property
    def asks(self) -> Matcher | None:
        """The matcher that asks the store or the world; such an ACL has no other."""
        return self.matchers[0] if self.asked_once else None

    @cached_property
    def remembering(self) -> Matcher | None:
        """The same, if it asks the store."""
        return self.asks if self.asks and self.asks.asking & Asking.COUNTS else None

    def unknown_attribute(self, values: Mapping[str, str | None], state: str) -> str | None:
        """The first attribute that is not known at this state, None when all are. `protocol_state`, which always is:
        there is nothing to know yet at this one.
        """
        if state not in self.known_states:
            return "protocol_state"
        return next((name for name in self.attributes if not attribute(name).known(values[name], state)), None)

    def find(self, values: Mapping[str, str | None], score: float = 0.0) -> Finding | None:
        """What makes it hold, None when nothing does. Raises whatever a matcher cannot answer."""
        if self.is_score:
            return self.matchers[0].find(str(score))
        failure: Exception | None = None
        for matcher in self.matchers:
            try:
                found = matcher.find(*(values[name] or "" for name in matcher.attributes))
            except Exception as error:  # noqa: BLE001 - one value that holds is enough, whatever else fails
                failure = error
                continue
            if found:
                return found
        if failure:
            raise failure
        return None


@dataclass(frozen=True, slots=True)
class Action:
    """One action. `kind`: reply ends the evaluation; log and score note something, and a deed remembers or forgets, and
    the next rule is tried. `checked`: what is put in may make the reply malformed, so that each one is checked;
    `passes_on`: the verbs of the replies of a service, where the reply is whatever that replies.
    """

    name: str
    kind: Literal["reply", "log", "score", "deed"]
    place: Place | None
    reply: Reply
    template: Template | None = None
    amount: float = 0.0
    encoded: bytes = b""
    checked: bool = False
    deed: Deed | None = None
    passes_on: frozenset[str] = frozenset()

    @property
    def verbs(self) -> frozenset[str]:
        """Everything that it may turn out to be."""
        return self.passes_on or frozenset({self.verb})

    @property
    def verb(self) -> str:
        """REJECT, DUNNO, 4xx ...: what counters and summaries group by."""
        return self.reply.verb


@dataclass(frozen=True, eq=False)
class Rule:
    """One `access` statement, or what stands for the end of the policy or a failure (`place` is None). `is_note`: it
    stands for an ACL that notes, and nothing follows where it cannot be evaluated.
    """

    number: int
    place: Place | None
    # Each ACL, and whether it is negated.
    terms: tuple[tuple[Acl, bool], ...]
    action: Action
    is_note: bool = False

    @cached_property
    def shown_acls(self) -> str:
        """The ACLs that are not silent, for log lines."""
        return " ".join(f"{'!' if negated else ''}{acl.name}" for acl, negated in self.terms if not acl.silent)

    @cached_property
    def where(self) -> str:
        """`file:line`, or what stands for the end, for log lines."""
        return str(self.place) if self.place else self.action.name

    @property
    def text(self) -> str:
        """The rule as it was meant, for logs and explanations."""
        words = [f"{'!' if negated else ''}{acl.name}" for acl, negated in self.terms]
        return " ".join(["access", *words, self.action.name])


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A whole policy."""

    acls: Mapping[str, Acl]
    actions: Mapping[str, Action]
    rules: tuple[Rule, ...]
    tables: Mapping[str, Lookup]
    default_rule: Rule
    error_rule: Rule

    @property
    def remembers(self) -> bool:
        """Whether any rule needs a store."""
        return any(rule.action.deed or any(acl.remembering for acl, _ in rule.terms) for rule in self.rules)

    @property
    def asks_world(self) -> bool:
        """Whether any rule needs the DNS or a service."""
        return any(acl.asked_once and not acl.remembering for rule in self.rules for acl, _ in rule.terms)

    @property
    def zones(self) -> tuple[Zone, ...]:
        """The DNS lists that rules ask, each once."""
        asked = (acl.asks for rule in self.rules for acl, _ in rule.terms if acl.asks)
        return tuple(dict.fromkeys(zone for matcher in asked for zone in matcher.zones))

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        """Every rule by its number: at last the end of the policy and the failures."""
        return (*self.rules, self.default_rule, self.error_rule)
