"""Asks a policy with and without an exception about past requests, and keeps those to which the replies differ.

Both decide as at the time of the request: by its time, with what ACLs that remember or ask have answered it then. Lines
that were cut are not decided again. `WhatIf` says what changes, and why that may not be all (`doubts`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.clock import Clock
from forkpolicy.history.past_request import read_past
from forkpolicy.history.recorded import RecordedAnswers
from forkpolicy.history.whatif.candidates import Candidates
from forkpolicy.history.whatif.doubts import doubts_of
from forkpolicy.history.whatif.narrowing import queries_of
from forkpolicy.history.whatif.touched import differing_rules
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forkpolicy.history.past_request import Past
    from forkpolicy.history.place import Reader
    from forkpolicy.history.search import Found
    from forkpolicy.history.whatif.doubts import Doubt
    from forkpolicy.history.whatif.policies import Tried
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.model import Rule
    from forkpolicy.policy.policy import Policy
    from forkpolicy.protocol.layout import Values

# Two of them take a quarter of a minute.
MOST_CANDIDATES: Final = 200_000


class Reply(NamedTuple):
    """What a policy replies, and the rule that says so."""

    text: str
    rule: str
    acls: str

    @property
    def verb(self) -> str:
        """Its first word."""
        return self.text.partition(" ")[0]


class Changed(NamedTuple):
    """A past decision that would be another one: what the policy in the files replies, and what it does with the
    exception. `forged`, `listed`: what makes it a risk (risks.py).
    """

    found: Found
    before: Reply
    after: Reply
    is_forged: bool
    is_listed: bool


@dataclass(slots=True)
class Counts:
    """What was met on the way that leaves a doubt, by the name of the ACL or list where there is one."""

    cut: int = 0
    not_asked: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """`looked_at`: how many past requests were decided again."""

    looked_at: int
    changed: list[Changed]
    doubts: list[Doubt]

    @property
    def is_exact(self) -> bool:
        """Whether these are all, and only, the decisions that would have been others."""
        return not self.doubts


def what_if(
    history: Reader,
    now: Loaded,
    tried: Tried,
    since_ms: int = 0,
    *,
    most: int = 0,
    on_read: Callable[[int], None] = lambda _count: None,
    is_over: Callable[[], bool] = lambda: False,
) -> WhatIf:
    """Replay. `most`: of so many candidates the newest (0: MOST_CANDIDATES), fewer where `is_over` says that it must
    end; `on_read` is called with how many were read so far. Raises HistoryError where nothing can be read at all.
    """
    delimiter = now.settings.mail.recipient_delimiter
    queries = queries_of(now.policy.model, tried.loaded.policy.model, tried.paths, delimiter)
    candidates = Candidates(history, queries, since_ms, most or MOST_CANDIDATES, is_over)
    judges = _Judges(now, tried)
    for number, (found, raw) in enumerate(candidates):
        judges.judge(found, read_past(raw))
        on_read(number)
    doubts = doubts_of(history, now, candidates, judges.counts, since_ms)
    return WhatIf(judges.looked_at, judges.changed, doubts)


def replies_to(now: Loaded, tried: Tried, found: Found, raw: bytes) -> tuple[Reply, Reply] | None:
    """What becomes of one decision; None where its line was cut."""
    return _Judges(now, tried).judge(found, read_past(raw))


class _Said(NamedTuple):
    """What a policy replies, and whom it has asked for it."""

    rule: Rule
    text: str
    counted: frozenset[str] = frozenset()
    not_asked: frozenset[str] = frozenset()


class _Judges:
    """The policy without and with the exception, on one clock, with the same answers."""

    def __init__(self, now: Loaded, tried: Tried) -> None:
        self.counts = Counts()
        self.changed: list[Changed] = []
        self.looked_at = 0
        # One of each is kept, as tens of thousands of decisions have the same: 0.8 instead of 1.3 KB for each.
        self._replies: dict[Reply, Reply] = {}
        self._texts: dict[str, str] = {}
        self._clock, self._answers = Clock(), RecordedAnswers()
        self._both = [now.policy, tried.loaded.policy]
        for policy in self._both:
            policy.answer_with(self._answers.mode)
            self._clock.put_into(policy)
        self._local_domains = frozenset(now.settings.mail.local_domains)
        self._lists = {acl.name for acl in now.policy.model.acls.values() if acl.asks and acl.asks.zones}
        self._differing = differing_rules(now.policy.model, tried.loaded.policy.model, tried.paths)
        differing = [rule for rules in self._differing for rule in rules]
        self._read_by_differing = {name for rule in differing for acl in rule.asked_acls for name in acl.reads}

    def judge(self, found: Found, past: Past) -> tuple[Reply, Reply] | None:
        """Both replies to a request; None for one that was cut."""
        self._clock.turn_to(found.at_ms / 1000)
        self._answers.answers = past.answers
        before, after = self._ask_both(past.attributes)
        if past.cut:
            # What no rule that differs reads is as it is, cut or not.
            fired = before.rule in self._differing[0] or after.rule in self._differing[1]
            touched = fired or not past.is_whole(self._read_by_differing)
            self.counts.cut += touched or before.text != after.text
            return None
        self.looked_at += 1
        self.counts.not_asked.update(before.not_asked | after.not_asked)
        self.counts.counted.update(before.counted ^ after.counted)
        pair = _reply(before), _reply(after)
        if before.text != after.text:
            one, other = (self._replies.setdefault(each, each) for each in pair)
            risks = self._is_forged(past.attributes), self._is_listed(past.answers)
            self.changed.append(Changed(self._lean(found), one, other, *risks))
        return pair

    def _lean(self, found: Found) -> Found:
        """The same, without texts of its own that others have, too."""
        texts = (found.day, found.rule, found.verb, found.acls, found.host, found.in_force)
        day, rule, verb, acls, host, in_force = (self._texts.setdefault(each, each) for each in texts)
        return replace(found, day=day, rule=rule, verb=verb, acls=acls, host=host, in_force=in_force)

    def _ask_both(self, attributes: Mapping[str, str]) -> tuple[_Said, _Said]:
        request = Request(dict(attributes), None)
        one, other = self._both
        values = wanted_values(request, one.wanted)
        same = values if one.wanted == other.wanted else wanted_values(request, other.wanted)
        return self._ask(one, values), self._ask(other, same)

    def _ask(self, policy: Policy, values: Values) -> _Said:
        rule = policy.decide(values).rule
        noted = policy.take_noted()
        text = policy.text(rule, values) if rule.action.template else rule.action.reply.text
        if not policy.asks_once and not noted:
            return _Said(rule, text)
        given = policy.given()
        asked = ((name, policy.model.acls[name].remembering) for name in given)
        counted = {name for name, matcher in asked if matcher and matcher.writes}
        counted |= {deed.list_name for each in noted if (deed := each.rule.action.deed)}
        return _Said(rule, text, frozenset(counted), frozenset(name for name in given if given[name].not_asked))

    def _is_forged(self, attributes: Mapping[str, str]) -> bool:
        """Whether it claims one of our own domains without having signed in."""
        sender, recipient = (attributes.get(name, "").rpartition("@")[2].lower() for name in ("sender", "recipient"))
        ours = sender == recipient or sender in self._local_domains
        return bool(sender) and ours and not attributes.get("sasl_username")

    def _is_listed(self, answers: Mapping[str, object]) -> bool:
        """Whether a DNS list had it then."""
        given = (answers.get(name) for name in self._lists)
        return any(isinstance(each, dict) and each.get("holds") is True for each in given)


def _reply(said: _Said) -> Reply:
    return Reply(said.text, said.rule.where, said.rule.shown_acls)
