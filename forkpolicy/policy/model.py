"""What a policy means, resolved: ACLs with their matchers, actions with their replies, rules in order.

`resolve` makes it; `evaluate`, `plan` and `checks` read it. It never changes: what a worker counts is in its outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from forkpolicy.policy.matchers.matcher import Asking, Finding, attributes_of
from forkpolicy.protocol.attributes import STATES, attribute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.policy.matchers.matcher import Lookup, Matcher
    from forkpolicy.policy.matchers.remembering.deeds import Deed
    from forkpolicy.policy.nodes import Place, Word
    from forkpolicy.policy.template import Template
    from forkpolicy.protocol.reply import Reply
    from forkpolicy.world.dnsbl import Zone

DEFAULT_ACTION = "default"


@dataclass(frozen=True, eq=False)
class Acl:
    """One ACL: it holds when one of its matchers does, or, of type `any`, when one of its terms is met. `number` is its
    index in the policy, `word` its name in its place.
    """

    number: int
    word: Word
    type_name: str
    words: tuple[Word, ...]
    matchers: tuple[Matcher, ...]
    silent: bool = False
    # What an ACL of type `any` asks from left to right: others, and whether each is negated.
    terms: tuple[tuple[Acl, bool], ...] = ()

    @cached_property
    def name(self) -> str:
        """As the policy declares it."""
        return self.word.text

    @cached_property
    def asked_acls(self) -> tuple[Acl, ...]:
        """Itself and all ACLs that it may ask, each once."""
        of_terms = (each for acl, _ in self.terms for each in acl.asked_acls)
        return tuple(dict.fromkeys((*of_terms, self)))

    @cached_property
    def all_matchers(self) -> tuple[Matcher, ...]:
        """Its matchers and those of all ACLs that it may ask."""
        return tuple(matcher for acl in self.asked_acls for matcher in acl.matchers)

    @cached_property
    def alternatives(self) -> tuple[Acl, ...]:
        """ACLs with matchers of which one must hold; none where another one must not."""
        if not self.terms:
            return (self,)
        found = [() if negated else acl.alternatives for acl, negated in self.terms]
        return tuple(dict.fromkeys(acl for each in found for acl in each)) if all(found) else ()

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """What it asks a request for; of one of type `any` a part may do."""
        return attributes_of(self.all_matchers)

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """The same, and what it reads whether it is known or not."""
        also = (name for matcher in self.all_matchers for name in matcher.also_reads)
        context = ("policy_context",) if self.asked_once else ()
        return tuple(dict.fromkeys((*self.attributes, *also, *context)))

    @cached_property
    def known_states(self) -> frozenset[str]:
        """The protocol states at which it can be known, apart from what its attributes say."""
        return frozenset(STATES).intersection(*(matcher.known_states for matcher in self.matchers))

    @cached_property
    def is_score(self) -> bool:
        """Whether it asks for the score so far: the one answer that changes within a request."""
        return self.type_name == "score"

    @cached_property
    def changes(self) -> bool:
        """Whether its answer does."""
        return any(acl.is_score for acl in self.asked_acls)

    @cached_property
    def asked_once(self) -> bool:
        """Whether asking it counts or waits, so that a request asks it when its turn comes, and never again."""
        return any(matcher.asking & (Asking.COUNTS | Asking.WAITS) for matcher in self.all_matchers)

    @cached_property
    def asks(self) -> Matcher | None:
        """The matcher that asks the store or the world; such an ACL has no other. One of type `any` has none itself."""
        return self.matchers[0] if self.asked_once and not self.terms else None

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
        if self.terms:
            return self._find_term(values)
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

    def _find_term(self, values: Mapping[str, str | None]) -> Finding | None:
        for acl, negated in self.terms:
            found = acl.find(values)
            if (found is None) is negated:
                return found or Finding(f"!{acl.name}", self.word.place)
        return None

    def missed(self, values: Mapping[str, str | None]) -> Finding | None:
        """The entry for which it does not hold, because its value is not as wanted."""
        found = (matcher.missed(*(values[name] or "" for name in matcher.attributes)) for matcher in self.matchers)
        return next(filter(None, found), None)


class Action(NamedTuple):
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
    def asked_acls(self) -> tuple[Acl, ...]:
        """All ACLs that it may ask, each once."""
        return tuple(dict.fromkeys(each for acl, _ in self.terms for each in acl.asked_acls))

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
        return any(rule.action.deed or any(acl.remembering for acl in rule.asked_acls) for rule in self.rules)

    @property
    def asks_world(self) -> bool:
        """Whether any rule needs the DNS or a service."""
        return any(acl.asks and not acl.remembering for rule in self.rules for acl in rule.asked_acls)

    @property
    def zones(self) -> tuple[Zone, ...]:
        """The DNS lists that rules ask, each once."""
        asked = (acl.asks for rule in self.rules for acl in rule.asked_acls if acl.asks)
        return tuple(dict.fromkeys(zone for matcher in asked for zone in matcher.zones))

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        """Every rule by its number: at last the end of the policy and the failures."""
        return (*self.rules, self.default_rule, self.error_rule)
