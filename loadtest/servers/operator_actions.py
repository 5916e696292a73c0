"""What an operator does to a server, all at once: reloads, HUP, scaling, retiring workers, upgrades in place.

Each action has a thread and a pace of its own, whatever the others do; that is the point. Actions are counted, and so
are those that were not possible at that moment (a reload during an upgrade). None of them may cost a client anything.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loadtest.clients.load_clients import LoadClients
    from loadtest.servers.server import Server

POLICY = "acl all sender example.com\naction later 450 4.7.1 version {version}\naccess all later\n"
# From a reload's or an upgrade's begin to its end, on a machine that has no core left for it.
PATIENCE_S = 60.0
LOOK_S = 0.1


class OperatorActions:
    """The actions on one server while clients ask it."""

    def __init__(self, server: Server, clients: LoadClients, seed: int) -> None:
        """Nothing is done before `run`."""
        self.server, self.clients = server, clients
        self.random = random.Random(seed)
        self.version = 1
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.ending = threading.Event()
        self._many = True

    def plan(self) -> list[tuple[float, Callable[[], None]]]:
        """Each action, and every how many seconds it is due."""
        return [(1.0, self.reload), (1.0, self.hup), (0.5, self.scale), (2.0, self.retire), (5.0, self.upgrade)]

    def run(self, seconds: float, plan: Iterable[tuple[float, Callable[[], None]]]) -> None:
        """Carry out a plan, and return when the time is over or the clients have ended."""
        threads = [threading.Thread(target=self._repeat, args=each, daemon=True) for each in plan]
        for thread in threads:
            thread.start()
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and self.clients.is_alive():
            self.ending.wait(LOOK_S)
        self.ending.set()
        for thread in threads:
            thread.join()

    def _repeat(self, every_s: float, what: Callable[[], None]) -> None:
        due_s = time.monotonic() + every_s / 2
        while not self.ending.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + every_s, time.monotonic())
            try:
                what()
            except NotRunningError:
                # An upgrade: the master that we talked to has just stepped aside.
                self.done[f"{what.__name__}: master gone meanwhile"] += 1
            except Exception as error:  # noqa: BLE001 - of a thread: reported at the end
                self.failures.append(f"{what.__name__}: {error!r}")
                return

    def reload(self) -> None:
        """A new policy; from the answer on nothing older may be heard."""
        version = self.version = self.version + 1
        self.server.write_policy(POLICY.format(version=version))
        if self.server.obey("reload", PATIENCE_S)["ok"]:
            self.clients.floor = version
            self.done["reload"] += 1
        else:
            self.done["reload: refused during an upgrade"] += 1

    def hup(self) -> None:
        """HUP to the master."""
        self._signal(self.master(), signal.SIGHUP)
        self.done["hup"] += 1

    def scale(self) -> None:
        """More workers, or fewer."""
        self._many = not self._many
        self.server.obey("scale", workers=self.random.choice((3, 4) if self._many else (1, 2)))
        self.done["scale up" if self._many else "scale down"] += 1

    def retire(self) -> None:
        """TERM to some worker."""
        self._signal(self.victim(), signal.SIGTERM)
        self.done["retire"] += 1

    def upgrade(self) -> None:
        """USR2, until there is a new master: one that comes during a reload is not obeyed."""
        old, until_s = self.master(), time.monotonic() + PATIENCE_S
        asked_s = 0.0
        while self.master() == old and not self.ending.is_set():
            if time.monotonic() > until_s:
                raise TimeoutError(f"no new master within {PATIENCE_S:g} s")
            if time.monotonic() > asked_s + 1:
                asked_s = time.monotonic()
                self._signal(old, signal.SIGUSR2)
            self.ending.wait(LOOK_S)
        self.done["upgrade"] += self.master() != old

    def master(self) -> int:
        """The master's process id."""
        return int(self.server.obey("status")["pid"])

    def victim(self) -> int:
        """Some worker that serves."""
        workers = self.server.obey("status")["workers"]
        serving = [each for each in workers if each["ready"] and not each["retiring"]] or workers
        return int(self.random.choice(serving)["pid"])

    @staticmethod
    def _signal(pid: int, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
