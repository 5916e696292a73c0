"""The last two steps of a reload, as a pure state machine: every worker prepares the new generation, then all commit.

Nothing changes unless all of them can: a diagnostic, or silence for too long, and all forget it. Deaths in between are
harmless: a worker that has died is not waited for, and one that is started meanwhile serves what the master serves, and
prepares like the others. Called with what happens, it calls `send` with what comes of that. Raises nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.messages import Abort, Commit, Prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from forkpolicy.master.servable import Servable
    from forkpolicy.messages import ToWorker

PHASE_TIMEOUT_S = 60.0
# A worker that is just being started loads what the others prepare. That much longer than the last of them is stuck.
STARTING_S = 10.0


class TwoPhaseCommit:
    """One reload under way. `outcome` is None while it is; then the diagnostics, none of them for success. `pids`
    returns the workers that live; `waiting_for` are those that have not answered yet.
    """

    def __init__(
        self,
        loaded: Servable,
        generation: int,
        pids: Callable[[], Iterable[int]],
        send: Callable[[int, ToWorker], None],
        now_s: float,
    ) -> None:
        self.loaded = loaded
        self.generation = generation
        self.outcome: list[str] | None = None
        self.deadline_s = now_s + PHASE_TIMEOUT_S
        self.committing = False
        self._send = send
        self._pids = pids
        self._asked: set[int] = set()
        self._members: set[int] = set()
        self.waiting_for: set[int] = set()
        self._last_prepared_s: float | None = None
        self._diagnostics: list[str] = []
        self._step(now_s)

    def prepared(self, pid: int, diagnostics: Sequence[str], now_s: float) -> None:
        """A worker has prepared, or reports why it cannot."""
        # Only what was asked for counts, and once: a captured worker may send it again and again.
        if self.committing or pid not in self.waiting_for:
            return
        self._last_prepared_s = now_s
        self._diagnostics = list(dict.fromkeys((*self._diagnostics, *diagnostics)))
        self._done(pid, now_s)

    def committed(self, pid: int, now_s: float) -> None:
        """A worker serves the new generation."""
        if self.committing:
            self._done(pid, now_s)

    def exited(self, pid: int, now_s: float) -> None:
        """A worker has died."""
        self._members.discard(pid)
        self._done(pid, now_s)

    def starts_are_late(self, now_s: float) -> bool:
        """Whether workers that are not ready yet have been waited for long enough, if all others have prepared."""
        answered_s = self._last_prepared_s
        return not self.committing and answered_s is not None and now_s >= answered_s + STARTING_S

    def late(self, now_s: float) -> None:
        """Refuse the reload when a worker has not answered for too long."""
        if self.outcome is None and now_s >= self.deadline_s:
            pids = ", ".join(str(pid) for pid in sorted(self.waiting_for))
            self._diagnostics.append(f"worker {pids} did not answer within {PHASE_TIMEOUT_S:g} s: the old ones stay")
            self.waiting_for.clear()
            self._step(now_s)

    def _done(self, pid: int, now_s: float) -> None:
        self.waiting_for.discard(pid)
        self._step(now_s)

    def _ask(self) -> None:
        """Have every worker prepare that was not asked yet: also one that was started while the others did."""
        for pid in set(self._pids()) - self._asked:
            self._asked.add(pid)
            self._members.add(pid)
            self.waiting_for.add(pid)
            self._send(pid, Prepare(self.generation, self.loaded.snapshot))

    def _step(self, now_s: float) -> None:
        if self.outcome is None and not (self.committing or self.waiting_for or self._diagnostics):
            self._ask()
        if self.waiting_for or self.outcome is not None:
            return
        if self.committing:
            self.outcome = []
        elif self._diagnostics:
            for pid in self._members:
                self._send(pid, Abort(self.generation))
            self.outcome = self._diagnostics
        else:
            self.committing = True
            self.waiting_for = set(self._members)
            self.deadline_s = now_s + PHASE_TIMEOUT_S
            for pid in self._members:
                self._send(pid, Commit(self.generation))
            self._step(now_s)
