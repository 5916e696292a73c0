"""The store as a generation of a worker asks it, and the time that questions take."""

from __future__ import annotations

import time
from bisect import bisect
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

from forkpolicy.status import ASKED_LIMITS_S
from forkpolicy.worker.world import Asker

if TYPE_CHECKING:
    from forkpolicy.policy.answers import Lost
    from forkpolicy.state.live_state import LiveState
    from forkpolicy.state.store import Question
    from forkpolicy.worker.world import Done

T = TypeVar("T")

_LIMITS_NS: Final = [int(limit_s * 1e9) for limit_s in ASKED_LIMITS_S]


class Remote(Asker, Protocol):
    """A store that is not on this host: its answers take time."""

    def tell(self, question: Question[object], lost: Lost) -> None:
        """Have something remembered; nobody waits for it. `lost` is called with the reason if it cannot be."""

    @property
    def is_up(self) -> bool:
        """Whether it answers, as far as anybody knows."""

    def close(self) -> None:
        """For good. Whatever waits fails."""


class Took:
    """How long the questions of a worker took, all together and each; `times` counts as AskedStatus has it."""

    def __init__(self) -> None:
        self.busy_ns = 0
        self.times = [0] * (len(_LIMITS_NS) + 1)

    def add(self, began_ns: int) -> None:
        """Count one that ends now."""
        took_ns = time.monotonic_ns() - began_ns
        self.busy_ns += took_ns
        self.times[bisect(_LIMITS_NS, took_ns)] += 1


class AskedStore:
    """`live` is what it asks, or `remote` if there is one. A generation keeps it: what it has begun to ask there it
    asks there to the end.
    """

    def __init__(self, live: LiveState, remote: Remote | None = None, took: Took | None = None) -> None:
        """`took`: of those before it."""
        self.live = live
        self.remote = remote
        self.took = took or Took()

    @property
    def may_wait(self) -> bool:
        """Whether answers take time."""
        return self.remote is not None

    def ask(self, question: Question[T]) -> T:
        """The answer. Raises StateError, and MustWait where it takes time."""
        if self.remote:
            return cast("T", self.remote.ask(question))
        began_ns = time.monotonic_ns()
        try:
            return self.live.ask(question)
        finally:
            self.took.add(began_ns)

    def begin(self, question: Question[object], raw: bytes, done: Done) -> None:
        """As Asker.begin."""
        assert self.remote is not None
        began_ns = time.monotonic_ns()

        def took(answer: object) -> None:
            self.took.add(began_ns)
            done(answer)

        self.remote.begin(question, raw, took)

    def tell(self, question: Question[object], lost: Lost) -> None:
        """Have something remembered, now or in a moment. Raises StateError, or calls `lost` with the reason."""
        if self.remote:
            self.remote.tell(question, lost)
        else:
            self.ask(question)

    def peek(self, question: Question[T]) -> T:
        """The answer that `ask` would give. Raises StateError."""
        return self.live.peek(question)
