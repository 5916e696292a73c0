"""From a worker's own counters to its slot of the scoreboard: differences since the last beat, off the hot path."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from forkpolicy.scoreboard import bucket_of

if TYPE_CHECKING:
    from forkpolicy.policy.policy import Policy
    from forkpolicy.scoreboard import Slot
    from forkpolicy.worker.engine import Engine

# A reload flushes between two beats; so short a time says nothing about load.
MIN_WINDOW_NS = 200_000_000
FLUSHED = ("requests", "busy_ns", "waited_ns", "errors", "protocol_errors")


class Flusher:
    """Copies for one worker. The slot counts on from what the workers in it before have left."""

    def __init__(self, engine: Engine, slot: Slot) -> None:
        self._engine = engine
        self._slot = slot
        self._flushed = dict.fromkeys(FLUSHED, 0)
        self._by_action: dict[Policy, dict[str, int]] = {}
        self._cpu_ns = time.process_time_ns()
        self._load_busy_ns = 0
        self._at_ns = time.monotonic_ns()

    def flush(self) -> None:
        """Copy what has been counted since the last time. Called by every beat, and before a policy goes."""
        counters, slot = self._engine.counters, self._slot
        counted = {name: getattr(counters, name) for name in FLUSHED}
        cpu_ns = time.process_time_ns()
        slot.add("cpu_ns", cpu_ns - self._cpu_ns)
        now_ns = time.monotonic_ns()
        if now_ns - self._at_ns >= MIN_WINDOW_NS:
            # Half of it is the last beat, a quarter the one before: steady enough to compare, quick to follow.
            recent_ppm = (counters.busy_ns - self._load_busy_ns) * 1_000_000 // (now_ns - self._at_ns)
            slot["load"] = (slot["load"] + recent_ppm) // 2
            self._at_ns, self._load_busy_ns = now_ns, counters.busy_ns
        self._cpu_ns = cpu_ns
        slot["generation"] = self._engine.serving.number
        slot["waiting"] = len(self._engine.waiting)
        self._flush_latencies()
        self._flush_rules()
        # At last: who sees so many requests sees what they were answered, too.
        for name, value in counted.items():
            slot.add(name, value - self._flushed[name])
        self._flushed = counted

    def _flush_latencies(self) -> None:
        counters = self._engine.counters
        # The middle of n to n+1 times 1.024 us.
        linear = ((bucket_of((number << 10) + 512), count) for number, count in counters.take_linear_us())
        self._slot.add_latencies(linear)
        self._slot.add_latencies((bucket_of(ns), 1) for ns in counters.slow_ns)
        counters.slow_ns.clear()

    def _flush_rules(self) -> None:
        serving = self._engine.serving
        if serving.policy not in self._by_action:
            self._by_action[serving.policy] = {}
        for policy, flushed in self._by_action.items():
            self._flush_actions(policy, flushed)
        # Of those that were replaced only the ones count on for which a request waits.
        kept = {each.policy for each in (serving, *self._engine.waiting.generations)}
        self._by_action = {policy: flushed for policy, flushed in self._by_action.items() if policy in kept}
        self._slot.set_line_hits(serving.rule_hits())
        self._slot.set_exempted([*serving.sampling.exempted, 0, 0])
        self._slot["sampled"] = serving.sampling.sampled

    def _flush_actions(self, policy: Policy, flushed: dict[str, int]) -> None:
        by_action: Counter[str] = Counter()
        for outcome in policy.outcomes:
            by_action[outcome.rule.action.verb] += outcome.hits
        for verb, hits in by_action.items():
            self._slot.add_action(verb, hits - flushed.get(verb, 0))
        flushed.update(by_action)
