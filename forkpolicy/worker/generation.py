"""One generation of policy and tables as a worker decides with it: what each outcome leads to, and what is counted.

The engine has the one that serves. A request that waits for an answer keeps its own, so one that was replaced meanwhile
lives until the last of them is answered. Nothing here raises but bugs, and `decide` MustWait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.policy.answers import live
from forkpolicy.status import WorkerState
from forkpolicy.worker.decision_log import DecisionLog
from forkpolicy.worker.denied_domains import DENIALS, DeniedDomains
from forkpolicy.worker.sampling import Sampling
from forkpolicy.worker.shadow import ShadowComparison

if TYPE_CHECKING:
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.outcome import Outcome
    from forkpolicy.protocol.layout import Values
    from forkpolicy.worker.asked_store import AskedStore
    from forkpolicy.worker.counters import Counters
    from forkpolicy.worker.seldom_log import EventLog, SeldomLog
    from forkpolicy.worker.world import World


class Surroundings(NamedTuple):
    """What a generation shares with others of its worker; `store` with those of the same settings alone."""

    log: EventLog
    seldom_log: SeldomLog
    counters: Counters
    store: AskedStore
    world: World


class Generation:
    """`number` counts the master's generations. `decide` decides a request, `finish` makes its reply."""

    def __init__(self, loaded: Loaded, number: int, around: Surroundings) -> None:
        self.loaded, self.number = loaded, number
        self.store = around.store
        self._counters, self._seldom_log = around.counters, around.seldom_log
        self.policy = loaded.policy
        self.policy.on_failure = self._evaluation_failed
        self.policy.on_lost = self._not_remembered
        self.policy.answer_with(live(around.store, around.world.ask, around.store.tell))
        self.may_wait = self.policy.asks_world or (self.policy.remembers and around.store.may_wait)
        self.decision_log = log = DecisionLog(around.log, self._seldom_log, self.policy, loaded.settings.log)
        self.shadow = None
        if loaded.shadow:
            self.shadow = ShadowComparison(self.policy, loaded.shadow, log.shadow_differs, log.shadow_failed)
        self.decide = self.shadow.decide if self.shadow else self.policy.decide
        self.sampling = Sampling(self.policy)
        self.denied_domains = DeniedDomains()
        self._sender_at, self._state_at = (self.policy.wanted.index(name) for name in ("sender", "protocol_state"))
        self.noted = self.policy.noted
        self.on_error = self.policy.outcomes[-1]
        # Rules whose reply is sent as it is, with nothing to log or count: nearly all requests end in one.
        for outcome in self.policy.outcomes:
            action = outcome.rule.action
            outcome.denies, outcome.logged = action.verb in DENIALS, log.logs(outcome.rule)
            is_plain = not (outcome.denies or outcome.logged or outcome is self.on_error)
            outcome.plain = action.encoded if is_plain else b""

    def describe(self) -> WorkerState:
        """What this worker serves: the version of each table; what the shadow has counted, and who was denied."""
        tables = tuple(table.status() for table in self.loaded.tables.values())
        shadow = self.shadow.describe() if self.shadow else None
        return WorkerState(tables, shadow, self.denied_domains.describe())

    def rule_hits(self) -> list[int]:
        """How often each rule fired, and at last the end of the policy and the failures."""
        return [outcome.hits for outcome in self.policy.outcomes]

    def finish(self, outcome: Outcome, values: Values, raw: bytes, elapsed_us: int) -> bytes:
        """The reply of a decision that is not a plain one: texts put in, `log` lines and the decision itself logged.

        `raw` is the request, for a log of everything.
        """
        rule = outcome.rule
        if self.noted:
            self._take_notes(values, elapsed_us)
        reply = rule.action.encoded or self.policy.reply(rule, values)
        if outcome.denies:
            self.denied_domains.count(values[self._sender_at] or "", values[self._state_at] or "")
        if outcome.logged:
            self.decision_log.writer_of(rule)(reply, values, elapsed_us, raw)
        return reply

    def _take_notes(self, values: Values, elapsed_us: int) -> None:
        policy, decision_log = self.policy, self.decision_log
        for noted in policy.take_noted():
            noted.hits += 1
            if decision_log.logs_notes and noted.rule.action.kind == "log":
                decision_log.note(noted.rule, values, policy.text(noted.rule, values), elapsed_us)

    def _evaluation_failed(self, failure: str) -> None:
        self._counters.errors += 1
        self._seldom_log.event("error", "evaluation failed", failure, answered=self.on_error.rule.action.reply.text)

    def _not_remembered(self, failure: str) -> None:
        self._seldom_log.event("error", "not remembered", failure)
