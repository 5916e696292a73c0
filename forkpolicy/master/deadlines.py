"""How long a worker may be silent, and how long it may take to end. Its loop beats twice a second; what the scoreboard
shows of that decides.

Kills what hangs; sends nothing. Raises nothing.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from forkpolicy.master.processes.waitpid import kill

if TYPE_CHECKING:
    from collections.abc import Collection

    from forkpolicy.log import LogPipe
    from forkpolicy.master.generation import Generation
    from forkpolicy.master.processes.spawn import Worker
    from forkpolicy.scoreboard import Scoreboard

# What it is stuck in is logged before it is killed (faulthandler needs no interpreter loop).
DUMP_BEFORE_KILL_S = 1.0
# Loading the largest policy and verifying the largest tables may take so long; mail does not wait for it.
START_TIMEOUT_S = 60.0
# A worker that ends can hand over everything but a long request without its end. A client that is in the middle of
# one gets as long as Postfix waits for a reply (smtpd_policy_service_timeout): after that no client waits for it.
ENDING_S = 100.0
# More than recycling, scaling and upgrades have at once on a busy machine (15 were seen). Beyond that the oldest have
# no longer than a client that a stop waits for.
MANY_ENDING = 16
ENDING_OF_MANY_S = 5.0


class Deadlines:
    """Those of all workers."""

    def __init__(self, generation: Generation, scoreboard: Scoreboard, log: LogPipe) -> None:
        self._generation = generation
        self._scoreboard = scoreboard
        self._log = log
        self._awake_s = 0.0

    def beating(self, workers: Collection[Worker], now_s: float) -> bool:
        """Whether the loop of any worker turns: what the watchdog is fed for."""
        return any(self.silent_s(worker, now_s) < self._limit_s(worker) for worker in workers)

    def kill_the_hung(self, workers: Collection[Worker], now_s: float, *, slept: bool) -> None:
        """End workers whose loop has not turned for too long, and those whose time to end is over. `slept`: the master
        was stopped or suspended, and perhaps its workers were: they are given as long as at their start.
        """
        if slept:
            self._awake_s = now_s
        for worker in workers:
            silent_s, limit_s = self.silent_s(worker, now_s), self._limit_s(worker)
            if worker.kill_at_s is not None:
                if now_s >= worker.kill_at_s:
                    kill(worker.pid, signal.SIGKILL)
            elif silent_s > limit_s:
                worker.kill_at_s = now_s + DUMP_BEFORE_KILL_S
                fields = {"worker": worker.slot, "worker_pid": worker.pid, "silent_s": round(silent_s, 1)}
                self._log.event("error", "worker hangs", **fields, limit_s=limit_s, action="stack dump, then kill")
                kill(worker.pid, signal.SIGQUIT)

    @staticmethod
    def to_hurry(workers: Collection[Worker], now_s: float) -> list[Worker]:
        """Workers that have been ending for so long that they must wait for nothing more."""
        ending = [worker for worker in workers if worker.ending_since_s is not None]
        ending.sort(key=lambda each: each.ending_since_s or 0.0, reverse=True)
        late = []
        for rank, worker in enumerate(ending):
            limit_s = ENDING_S if rank < MANY_ENDING else ENDING_OF_MANY_S
            since_s = worker.ending_since_s
            if since_s is not None and now_s - since_s > limit_s and not worker.hurried:
                late.append(worker)
        return late

    def _limit_s(self, worker: Worker) -> float:
        """How long it may be silent. At its start its loop does not turn yet."""
        limit_s = self._generation.settings.server.hang_timeout
        return limit_s if worker.ready else max(limit_s, START_TIMEOUT_S)

    def silent_s(self, worker: Worker, now_s: float) -> float:
        """How long a worker's loop has not turned, as far as it could."""
        slot = self._scoreboard.slot(worker.slot)
        beat_s = slot["beat_ns"] / 1e9 if slot["pid"] == worker.pid else 0.0
        # A start may have taken longer than a loop may stand still, and the first beat comes after it.
        return now_s - max(beat_s, worker.started_s, worker.ready_s, self._awake_s)
