"""A reload in two steps: every worker prepares the new generation beside the one that serves, then all commit.

Nothing changes unless every worker can: a complaint, a death or silence for too long and all forget it. Deaths in
between are harmless: who is gone is not waited for, and who is born later serves what the master serves. A pure
state machine: it is told what happens and says what to send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forkpolicy.link import Message

PHASE_TIMEOUT_S = 60.0


class Reload:
    """One reload under way. `outcome` is None while it is; then the complaints, none of them for success."""

    def __init__(
        self,
        loaded: Any,
        generation: int,
        pids: Iterable[int],
        send: Callable[[int, Message], None],
        now_s: float,
    ) -> None:
        self.loaded = loaded
        self.generation = generation
        self.outcome: list[str] | None = None
        self.deadline_s = now_s + PHASE_TIMEOUT_S
        self._send = send
        self._members = set(pids)
        self._waiting_for = set(self._members)
        self._committing = False
        self._complaints: list[str] = []
        for pid in self._members:
            send(pid, {"do": "prepare", "generation": generation, "snapshot": loaded.snapshot})
        self._step(now_s)

    def prepared(self, pid: int, complaints: list[str], now_s: float) -> None:
        """A worker has prepared, or says why it cannot."""
        self._complaints += [each for each in complaints if each not in self._complaints]
        self._done(pid, now_s)

    def committed(self, pid: int, now_s: float) -> None:
        """A worker serves the new generation."""
        self._done(pid, now_s)

    def gone(self, pid: int, now_s: float) -> None:
        """A worker has died."""
        self._members.discard(pid)
        self._done(pid, now_s)

    def late(self, now_s: float) -> None:
        """Give up on who has said nothing for too long."""
        if self.outcome is None and now_s >= self.deadline_s:
            pids = ", ".join(str(pid) for pid in sorted(self._waiting_for))
            self._complaints.append(f"worker {pids} did not answer within {PHASE_TIMEOUT_S:g} s: the old ones stay")
            self._waiting_for.clear()
            self._step(now_s)

    def _done(self, pid: int, now_s: float) -> None:
        self._waiting_for.discard(pid)
        self._step(now_s)

    def _step(self, now_s: float) -> None:
        if self._waiting_for or self.outcome is not None:
            return
        if self._committing:
            self.outcome = []
        elif self._complaints:
            for pid in self._members:
                self._send(pid, {"do": "abort", "generation": self.generation})
            self.outcome = self._complaints
        else:
            self._committing = True
            self._waiting_for = set(self._members)
            self.deadline_s = now_s + PHASE_TIMEOUT_S
            for pid in self._members:
                self._send(pid, {"do": "commit", "generation": self.generation})
            self._step(now_s)
