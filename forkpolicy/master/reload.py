"""A reload in two steps: every worker prepares the new generation beside the one that serves, then all commit.

Nothing changes unless every worker can: a complaint, a death or silence for too long and all forget it. Deaths in
between are harmless: who is gone is not waited for, and who is born later serves what the master serves. `Reload` is
a pure state machine: it is told what happens and says what to send. `Reloader` begins one, takes up what it brings,
and tells log, systemd and whoever asked. Neither raises: what cannot be loaded is an answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from forkpolicy.errors import ConfigError
from forkpolicy.master.workers import worker_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forkpolicy.link import Message
    from forkpolicy.log import LogPipe
    from forkpolicy.master.generation import Generation
    from forkpolicy.master.notify import Notifier
    from forkpolicy.master.workers import Workers
    from forkpolicy.settings import Settings

    Asker = Callable[[dict[str, Any]], None]

PHASE_TIMEOUT_S = 60.0
# What is done once, at the start, with privileges that are given up.
FIXED = ("listen", "socket_mode", "socket_user", "socket_group", "user", "group", "backlog", "control")


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


class Reloader:
    """All reloads, one at a time. Owns the generation that serves."""

    def __init__(
        self, generation: Generation, load: Callable[[], Any], workers: Workers, log: LogPipe, notifier: Notifier
    ) -> None:
        self._generation = generation
        self._load = load
        self._workers = workers
        self._log = log
        self._notifier = notifier
        self._reload: Reload | None = None
        self._askers: list[Asker] = []
        self._askers_of_next: list[Asker] = []
        self._again = False

    @property
    def under_way(self) -> bool:
        """Whether one is: nobody is born or retired meanwhile."""
        return self._reload is not None

    def ask(self, asker: Asker) -> None:
        """Call `asker` with the outcome of the next reload that begins: one that is under way has read its files."""
        (self._askers_of_next if self._reload else self._askers).append(asker)

    def begin(self) -> None:
        """Read everything again; what is wrong with it leaves the old one serving. Several at once are one more."""
        if self._reload:
            self._again = True
            return
        self._notifier.reloading()
        try:
            loaded = self._load()
        except ConfigError as error:
            self.refuse([str(complaint) for complaint in error.complaints])
            return
        # Also who is about to go: until its last connection has gone, it answers.
        pids = list(self._workers.alive)
        number = self._generation.number + 1
        self._reload = Reload(loaded, number, pids, self._workers.send_to, time.monotonic())
        self._end()

    def refuse(self, complaints: list[str]) -> None:
        """The old generation goes on."""
        self._log.event("error", "reload refused", generation=self._generation.number, reason="; ".join(complaints))
        self._tell(complaints, [], [])

    def prepared(self, pid: int, message: Message) -> None:
        """A worker has prepared, or says why it cannot."""
        if self._reload and message["generation"] == self._reload.generation:
            self._reload.prepared(pid, message["complaints"], time.monotonic())
            self._end()

    def committed(self, pid: int) -> None:
        """A worker serves the new generation."""
        if self._reload:
            self._reload.committed(pid, time.monotonic())
            self._end()

    def gone(self, pid: int) -> None:
        """A worker has died."""
        if self._reload:
            self._reload.gone(pid, time.monotonic())
            self._end()

    def look_after_time(self, now_s: float) -> None:
        """Wait for nobody longer than he may take."""
        if self._reload:
            self._reload.late(now_s)
            self._end()

    def _end(self) -> None:
        """When it is over: take up the new generation or keep the old one, tell who asked, and begin the next."""
        reload = self._reload
        if reload is None or reload.outcome is None:
            return
        self._reload = None
        if reload.outcome:
            self.refuse(reload.outcome)
        else:
            self._take_up(reload)
        self._askers, self._askers_of_next = self._askers_of_next, []
        if self._again:
            self._again = False
            self.begin()

    def _take_up(self, reload: Reload) -> None:
        before = self._generation.settings
        self._generation.loaded, self._generation.number = reload.loaded, reload.generation
        settings = self._generation.settings
        if before.server.workers != settings.server.workers:
            self._workers.wanted = worker_count(settings)
        notes = needs_restart(before, settings)
        self._log.event("info", "reloaded", generation=reload.generation, **reload.loaded.summary)
        for note in notes:
            self._log.event("warning", "setting not taken up", reason=note)
        self._tell([], notes, [str(warning) for warning in reload.loaded.warnings])

    def _tell(self, complaints: list[str], notes: list[str], warnings: list[str]) -> None:
        number = self._generation.number
        self._notifier.ready(f"{len(self._workers)} workers serve generation {number}")
        answer = {
            "ok": not complaints,
            "generation": number,
            "complaints": complaints,
            "notes": notes,
            "warnings": warnings,
        }
        askers, self._askers = self._askers, []
        for asker in askers:
            asker(answer)


def needs_restart(before: Settings, after: Settings) -> list[str]:
    """The settings that a reload cannot take up, in words."""
    changed = [f"server.{name}" for name in FIXED if getattr(before.server, name) != getattr(after.server, name)]
    if (before.log.format, before.log.target) != (after.log.format, after.log.target):
        changed.append("log.format or log.target")
    if before.metrics != after.metrics:
        changed.append("metrics.listen")
    if before.watch_interfaces != after.watch_interfaces:
        changed.append("watch_interfaces")
    return [f"{name} has changed: it is taken up by a restart or an upgrade (signal USR2)" for name in changed]
