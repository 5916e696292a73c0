"""What a worker decides with: one generation of policy and tables, and what is counted.

Connections call `decide` for each request and, where a reply must be made or a decision logged, `finish`. reload.py
swaps the generation, table_refresh.py the files of its tables. Nothing here raises but bugs.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from forkpolicy.protocol.layout import learnable, wanted_values
from forkpolicy.status import WorkerState
from forkpolicy.worker.asked_store import AskedStore
from forkpolicy.worker.counters import Counters
from forkpolicy.worker.decision_log import DecisionLog
from forkpolicy.worker.denied_domains import DENIALS, DeniedDomains
from forkpolicy.worker.implementation import CHOSEN
from forkpolicy.worker.sampling import Sampling
from forkpolicy.worker.seldom_log import SeldomLog
from forkpolicy.worker.shadow import ShadowComparison

if TYPE_CHECKING:
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.outcome import Outcome
    from forkpolicy.protocol.layout import Layout, Values
    from forkpolicy.protocol.request import Request
    from forkpolicy.worker.implementation import Implementation
    from forkpolicy.worker.seldom_log import EventLog

# Postfix installations differ, connections of one do not: a handful of layouts is all that a worker meets.
MAX_LAYOUTS = 32


class Engine:
    """One worker's generation. `decide` is replaced with the generation, so connections fetch it for each request."""

    def __init__(self, loaded: Loaded, generation: int, log: EventLog, implementation: Implementation = CHOSEN) -> None:
        self.implementation = implementation
        self._log = log
        self.store = AskedStore(loaded.store)
        self.seldom_log = SeldomLog(log)
        self.counters = Counters()
        self.layouts_epoch = 0
        self.use(loaded, generation)

    def use(self, loaded: Loaded, generation: int) -> None:
        """Serve this generation from now on."""
        self.loaded, self.generation = loaded, generation
        self.policy = loaded.policy
        self.policy.on_failure = self._evaluation_failed
        self.policy.on_lost = self._not_remembered
        self.policy.remember_in(self.store)
        self.decision_log = DecisionLog(self._log, self.seldom_log, self.policy, loaded.settings.log)
        self.shadow = None
        if loaded.shadow:
            log = self.decision_log
            self.shadow = ShadowComparison(self.policy, loaded.shadow, log.shadow_differs, log.shadow_failed)
        self.decide = self.shadow.decide if self.shadow else self.policy.decide
        self.sampling = Sampling(self.policy)
        self.denied_domains = DeniedDomains()
        self._sender_at, self._state_at = (self.policy.wanted.index(name) for name in ("sender", "protocol_state"))
        self.noted = self.policy.noted
        self.on_error = self.policy.outcomes[-1]
        self.layouts: dict[tuple[str, ...], Layout] = {}
        self.layouts_epoch += 1
        # Rules whose reply is sent as it is, with nothing to log or count: nearly all requests end in one.
        for outcome in self.policy.outcomes:
            action = outcome.rule.action
            outcome.denies, outcome.logged = action.verb in DENIALS, self.decision_log.logs(outcome.rule)
            is_plain = not (outcome.denies or outcome.logged or outcome is self.on_error)
            outcome.plain = action.encoded if is_plain else b""

    def describe(self) -> WorkerState:
        """What this worker serves: the version of each table; what the shadow has counted, and who was denied."""
        tables = tuple(table.status() for table in self.loaded.tables.values())
        shadow = self.shadow.describe() if self.shadow else None
        return WorkerState(tables, shadow, self.denied_domains.describe())

    def sample_next(self) -> None:
        """Look closely at the next request; it alone pays for that. Called by the beat."""
        self.decide = self._decide_and_sample

    def _decide_and_sample(self, values: Values) -> Outcome:
        self.decide = self.shadow.decide if self.shadow else self.policy.decide
        self.sampling.look_at(values)
        return self.decide(values)

    def rule_hits(self) -> list[int]:
        """How often each rule fired, and at last the end of the policy and the failures."""
        return [outcome.hits for outcome in self.policy.outcomes]

    def layout_of(self, request: Request) -> Layout | None:
        """The learnt layout for requests like this one."""
        names = request.layout
        if names is None or not learnable(names):
            return None
        if names not in self.layouts:
            if len(self.layouts) >= MAX_LAYOUTS:
                self.layouts.clear()
            self.layouts[names] = self.implementation.layout(names, self.policy.wanted)
        return self.layouts[names]

    def values_of(self, request: Request) -> Values:
        """What the policy reads of a request."""
        return wanted_values(request, self.policy.wanted)

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
        self.counters.errors += 1
        self.seldom_log.event("error", "evaluation failed", failure, answered=self.on_error.rule.action.reply.text)

    def _not_remembered(self, failure: str) -> None:
        self.seldom_log.event("error", "not remembered", failure)

    def bug(self, error: Exception) -> None:
        """Log a bug of ours with its traceback; the request it met is answered with on_error."""
        self.counters.errors += 1
        where = "".join(traceback.format_exception(error))[-2000:]
        self.seldom_log.event("critical", "bug", f"{type(error).__name__}: {error}", traceback=where)
