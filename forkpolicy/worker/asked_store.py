"""The store as a worker's policy asks it: with the time that each question takes. It outlives generations."""

from __future__ import annotations

import time
from bisect import bisect
from typing import TYPE_CHECKING, Final, TypeVar

from forkpolicy.status import ASKED_LIMITS_S

if TYPE_CHECKING:
    from forkpolicy.state.live_state import LiveState
    from forkpolicy.state.store import Question

T = TypeVar("T")

_LIMITS_NS: Final = [int(limit_s * 1e9) for limit_s in ASKED_LIMITS_S]


class AskedStore:
    """`live` is what it asks; `times` counts as AskedStatus has it."""

    def __init__(self, live: LiveState) -> None:
        self.live = live
        self.busy_ns = 0
        self.times = [0] * (len(_LIMITS_NS) + 1)

    def ask(self, question: Question[T]) -> T:
        """The answer. Raises StateError."""
        began_ns = time.monotonic_ns()
        try:
            return self.live.ask(question)
        finally:
            took_ns = time.monotonic_ns() - began_ns
            self.busy_ns += took_ns
            self.times[bisect(_LIMITS_NS, took_ns)] += 1

    def peek(self, question: Question[T]) -> T:
        """The answer that `ask` would give. Raises StateError."""
        return self.live.peek(question)
