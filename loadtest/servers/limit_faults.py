"""What happens to a server while it counts: reloads, scaling, upgrades, killed workers, and one that is stopped inside
a transaction.

One after the other, until the clients are done. A worker that is stopped while it holds the live map's write lock keeps
all others waiting: the master must kill it soon, and nobody else.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from forkpolicy.errors import NotRunningError
from forkpolicy.state.lock_holder import lock_holder
from loadtest.servers.pausing import is_there, pause

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from loadtest.servers.server import Server

NAMES = ("reload", "scale", "upgrade", "kill", "stop")
# A client whose worker was killed asks again after a second: the second try must not meet the next killing.
BETWEEN_S = 1.2
PATIENCE_S = 30.0
LOOK_S = 0.01
# As a master promises for a holder that stands still, and what a busy machine may add.
KILLED_WITHIN_S = 2.0
HELD_FOR_S = 0.005


class LimitFaults(threading.Thread):
    """Some of NAMES in turn, on a server whose live map is in `live`. `broken`: promises that were not kept."""

    def __init__(self, server: Server, live: Path, names: Collection[str], workers: int, seed: int) -> None:
        """Nothing happens before `start`."""
        super().__init__(daemon=True)
        self.server, self.live, self.names, self.workers = server, live, names, workers
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.broken: list[str] = []
        self.killed_after_s: list[float] = []
        self._ending = threading.Event()

    def finish(self) -> None:
        """Let the current fault end."""
        self._ending.set()
        self.join()

    def run(self) -> None:
        """The thread."""
        while self.names and not self._ending.is_set():
            for name in self.names:
                try:
                    getattr(self, name)()
                except NotRunningError:
                    # The master that was asked has just handed over to the next one.
                    self.done[f"{name}: master gone meanwhile"] += 1
                except Exception as error:  # noqa: BLE001 - of a thread: reported at the end
                    self.broken.append(f"{name}: {error!r}")
                    return
                if self._ending.wait(BETWEEN_S):
                    return

    def reload(self) -> None:
        """The same policy once more: what was counted stays."""
        refused = not self.server.obey("reload", PATIENCE_S)["ok"]
        self.done["reload: refused" if refused else "reload"] += 1

    def scale(self) -> None:
        """One worker more or less, and back."""
        for workers in (self.workers + self.random.choice((-1, 1)), self.workers):
            self.server.obey("scale", workers=max(1, workers))
        self.done["scale"] += 1

    def upgrade(self) -> None:
        """USR2: new master, new workers, the same map."""
        old, until_s = self._master(), time.monotonic() + PATIENCE_S
        os.kill(old, signal.SIGUSR2)
        while is_there(old):
            if time.monotonic() > until_s:
                raise TimeoutError(f"the old master is still there after {PATIENCE_S:g} s")
            time.sleep(LOOK_S)
        self.done["upgrade"] += 1

    def kill(self) -> None:
        """KILL to some worker."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.random.choice(self._workers()), signal.SIGKILL)
        self.done["kill"] += 1

    def stop(self) -> None:
        """STOP to a worker while it holds the write lock, until its master has killed it."""
        workers = self._workers()
        pid = self._stopped_holder(workers)
        if not pid:
            self.done["stop: none held the lock"] += 1
            return
        began_s = time.monotonic()
        while is_there(pid):
            if time.monotonic() > began_s + PATIENCE_S:
                os.kill(pid, signal.SIGKILL)
                raise TimeoutError(f"the master has not killed {pid}, which holds the lock, within {PATIENCE_S:g} s")
            time.sleep(LOOK_S)
        self.killed_after_s.append(time.monotonic() - began_s)
        if self.killed_after_s[-1] > KILLED_WITHIN_S:
            self.broken.append(f"the holder of the lock was killed after {self.killed_after_s[-1]:.1f} s")
        others = [each for each in workers if each != pid and not is_there(each)]
        if others:
            self.broken.append(f"workers {others} died with the one that held the lock")
        self.done["stop"] += 1

    def _stopped_holder(self, workers: list[int]) -> int:
        """A worker that is stopped and holds the lock; 0 when none could be caught."""
        until_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < until_s and not self._ending.is_set():
            pid = self.random.choice(workers)
            try:
                pause(pid)
            except ProcessLookupError:
                return 0
            if lock_holder(self.live) == pid:
                # Not what the one before left there: only a holder that stands still stays.
                time.sleep(HELD_FOR_S)
                if lock_holder(self.live) == pid:
                    return pid
            os.kill(pid, signal.SIGCONT)
            time.sleep(LOOK_S)
        return 0

    def _master(self) -> int:
        return int(self.server.obey("status")["pid"])

    def _workers(self) -> list[int]:
        workers = self.server.obey("status")["workers"]
        return [int(each["pid"]) for each in workers if each["ready"] and not each["retiring"]]
