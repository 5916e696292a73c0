"""One generation of policy and tables as a worker decides with it: what each outcome leads to, and what is counted.

The engine has the one that serves. A request that waits for an answer keeps its own, so one that was replaced meanwhile
lives until the last of them is answered. Nothing here raises but bugs, and `decide` MustWait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.decision_ids import decision_ids, in_force_id
from forkpolicy.decisive_settings import DecisiveSettings
from forkpolicy.policy.answers import live
from forkpolicy.status import WorkerState
from forkpolicy.worker.decision_log import HistoryLog, UsualLog
from forkpolicy.worker.denied_domains import DENIALS, DeniedDomains
from forkpolicy.worker.sampling import Sampling
from forkpolicy.worker.shadow import ShadowComparison

if TYPE_CHECKING:
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.outcome import Outcome
    from forkpolicy.protocol.layout import Values
    from forkpolicy.worker.asked_store import AskedStore
    from forkpolicy.worker.counters import Counters
    from forkpolicy.worker.decision_log import DecisionLog
    from forkpolicy.worker.seldom_log import EventLog, SeldomLog
    from forkpolicy.worker.world import World


class Surroundings(NamedTuple):
    """What a generation shares with others of its worker; `store` with those of the same settings alone. `history`: the
    log of `[history]`, where there is one.
    """

    log: EventLog
    history: EventLog | None
    seldom_log: SeldomLog
    counters: Counters
    store: AskedStore
    world: World


class Generation:
    """`number` counts the master's generations. `decide` decides a request, `finish` makes its reply."""

    def __init__(self, loaded: Loaded, number: int, around: Surroundings) -> None:
        loaded.prepare()
        self.loaded, self.number = loaded, number
        self.store = around.store
        self._counters, self._seldom_log = around.counters, around.seldom_log
        self.policy = loaded.policy
        self.policy.on_failure = self._evaluation_failed
        self.policy.on_lost = self._not_remembered
        self.policy.answer_with(live(around.store, around.world.ask, around.store.tell))
        self.may_wait = self.policy.asks_world or (self.policy.remembers and around.store.may_wait)
        self._policy_version = loaded.policy_version()
        self._settings_version = DecisiveSettings.of(loaded.settings).version
        self.decision_log = log = UsualLog(
            around.log, self._seldom_log, self.policy, loaded.settings.log, self._in_force()
        )
        self._logs: list[DecisionLog] = [log]
        if around.history:
            decisions = loaded.settings.history.decisions
            self._logs.append(HistoryLog(around.history, self.policy, decisions, self._in_force()))
        self._logs_of = [[each for each in self._logs if each.logs(rule)] for rule in self.policy.model.all_rules]
        self._new_id = decision_ids()
        self._announced = ""
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
            outcome.denies, outcome.logged = action.verb in DENIALS, bool(self._logs_of[outcome.rule.number])
            is_plain = not (outcome.denies or outcome.logged or outcome is self.on_error)
            outcome.plain = action.encoded if is_plain else b""

    def describe(self) -> WorkerState:
        """What this worker serves: the version of each table; what the shadow has counted, and who was denied."""
        tables = tuple(table.status() for table in self.loaded.tables.values())
        shadow = self.shadow.describe() if self.shadow else None
        return WorkerState(tables, shadow, self.denied_domains.describe())

    def announce(self) -> None:
        """Log what decisions are made with, where that has changed. Called whenever tables may have been loaded."""
        in_force = self._in_force()
        if in_force != self._announced:
            self._announced = in_force
            for log in self._logs:
                log.decides_with(in_force, self.number, self._policy_version, self._settings_version, self._versions())

    def _in_force(self) -> str:
        return in_force_id(self._policy_version, self._settings_version, self._versions())

    def _versions(self) -> list[tuple[str, str]]:
        return [(name, table.version) for name, table in self.loaded.tables.items()]

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
        # What is logged has an id, which a text may show; what is not has none.
        code = self._new_id() if outcome.logged else ""
        reply = rule.action.encoded or self.policy.reply(rule, values, code)
        if outcome.denies:
            self.denied_domains.count(values[self._sender_at] or "", values[self._state_at] or "")
        if code:
            for log in self._logs_of[rule.number]:
                log.writer_of(rule)(reply, values, elapsed_us, raw, code)
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
