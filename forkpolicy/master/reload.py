"""A reload in three steps: a child reads the files and shows that a generation comes of them (loader.py), every worker
prepares it beside the one that serves, then all commit.

Nothing changes unless all of them can: a complaint, a death or silence for too long and all forget it. Deaths in
between are harmless: a worker that is gone is not waited for, and one that is born meanwhile serves what the
master serves, and prepares like the others. `Reload` is a pure state machine of the last two steps: it hears what
happens and says what to send. `Reloader` begins one, serves what it brings, and reports to log, systemd and the
clients that asked. Neither raises, whatever comes of the files: what cannot be loaded is an answer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from forkpolicy.errors import ConfigError
from forkpolicy.master.loader import Loader, Outcome
from forkpolicy.master.workers import worker_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forkpolicy.link import Message
    from forkpolicy.log import LogPipe
    from forkpolicy.master.generation import Generation
    from forkpolicy.master.loader import Load
    from forkpolicy.master.sockets.loop import Loop
    from forkpolicy.master.sockets.notify import Notifier
    from forkpolicy.master.workers import Workers
    from forkpolicy.settings import Settings

    Asker = Callable[[dict[str, Any]], None]

PHASE_TIMEOUT_S = 60.0
# What is done once, at the start, with privileges that are given up.
FIXED = ("listen", "socket_mode", "socket_user", "socket_group", "user", "group", "backlog", "control")


class Reload:
    """One reload under way. `outcome` is None while it is; then the complaints, none of them for success. `pids` gives
    the workers that live.
    """

    def __init__(
        self,
        loaded: Any,
        generation: int,
        pids: Callable[[], Iterable[int]],
        send: Callable[[int, Message], None],
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
        self._waiting_for: set[int] = set()
        self._complaints: list[str] = []
        self._step(now_s)

    def prepared(self, pid: int, complaints: list[str], now_s: float) -> None:
        """A worker has prepared, or says why it cannot."""
        self._complaints += [each for each in complaints if each not in self._complaints]
        self._done(pid, now_s)

    def committed(self, pid: int, now_s: float) -> None:
        """A worker serves the new generation."""
        self._done(pid, now_s)

    def exited(self, pid: int, now_s: float) -> None:
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

    def _ask(self) -> None:
        """Have every worker prepare that was not asked yet: also one that was born while the others did."""
        born = set(self._pids()) - self._asked
        for pid in born:
            self._asked.add(pid)
            self._members.add(pid)
            self._waiting_for.add(pid)
            self._send(pid, {"do": "prepare", "generation": self.generation, "snapshot": self.loaded.snapshot})

    def _step(self, now_s: float) -> None:
        if self.outcome is None and not (self.committing or self._waiting_for or self._complaints):
            self._ask()
        if self._waiting_for or self.outcome is not None:
            return
        if self.committing:
            self.outcome = []
        elif self._complaints:
            for pid in self._members:
                self._send(pid, {"do": "abort", "generation": self.generation})
            self.outcome = self._complaints
        else:
            self.committing = True
            self._waiting_for = set(self._members)
            self.deadline_s = now_s + PHASE_TIMEOUT_S
            for pid in self._members:
                self._send(pid, {"do": "commit", "generation": self.generation})
            self._step(now_s)


class Reloader:
    """All reloads, one at a time. Owns the generation that serves.

    `load` is run in a child; `unpack` makes of what it gives what the master knows of a generation.
    """

    def __init__(
        self,
        generation: Generation,
        load: Load,
        unpack: Callable[[Any], Any],
        loop: Loop,
        workers: Workers,
        log: LogPipe,
        notifier: Notifier,
    ) -> None:
        self._generation = generation
        self._load = load
        self._unpack = unpack
        self._loop = loop
        self._workers = workers
        self._log = log
        self._notifier = notifier
        self._loader: Loader | None = None
        self._reload: Reload | None = None
        self._askers: list[Asker] = []
        self._askers_of_next: list[Asker] = []
        self._again = False

    @property
    def under_way(self) -> bool:
        """Whether one is."""
        return self._loader is not None or self._reload is not None

    @property
    def commits(self) -> bool:
        """Whether workers swap generations just now: nobody is born or retired meanwhile."""
        return self._reload is not None and self._reload.committing

    @property
    def table_paths(self) -> tuple[str, ...]:
        """The tables that workers may serve: of a reload under way, too, since some have committed before others."""
        coming = self._reload.loaded.table_paths if self._reload else ()
        return (*self._generation.loaded.table_paths, *coming)

    def ask(self, asker: Asker) -> None:
        """Call `asker` with the outcome of the next reload that begins: one that is under way has read its files."""
        (self._askers_of_next if self.under_way else self._askers).append(asker)

    def begin(self) -> None:
        """Read everything again; what is wrong with it leaves the old one serving. Several at once are one more."""
        if self.under_way:
            self._again = True
            return
        self._notifier.reloading()
        try:
            loader = self._loader = Loader(self._load)
        except OSError as error:
            self.refuse([f"no process to read the files with: {error.strerror}"])
            return
        self._loop.register(loader, lambda _events: self._on_loader(loader))

    def abort(self, reason: str) -> None:
        """Not any more, if files are still being read."""
        if self._loader:
            self._again = False
            self._read(self._loader, Outcome(reasons=(reason,)))

    def on_exit(self, pid: int, status: int) -> bool:
        """Take note of the death of the child that loads. False: it was somebody else."""
        if not (self._loader and pid == self._loader.pid):
            return False
        self._read(self._loader, self._loader.exited(status))
        return True

    def _on_loader(self, loader: Loader) -> None:
        if loader is not self._loader:
            return
        outcome = loader.read()
        if outcome:
            self._read(loader, outcome)
        elif loader.ended:
            # It has died; how, its status says.
            self._loop.unregister(loader)

    def _read(self, loader: Loader, outcome: Outcome) -> None:
        """The files are read, or will not be."""
        self._loop.unregister(loader)
        loader.end()
        self._loader = None
        if outcome.bug:
            self._log.event("critical", "bug", traceback=outcome.bug)
        if outcome.reasons:
            self.refuse(list(outcome.reasons))
            self._next()
            return
        try:
            loaded = self._unpack(outcome.loaded)
        except (ConfigError, MemoryError) as error:
            self.refuse([str(error) or "there is not enough memory for what was loaded"])
            self._next()
            return
        # Also who is about to go: until its last connection has gone, it answers.
        workers, number = self._workers, self._generation.number + 1
        self._reload = Reload(loaded, number, lambda: list(workers.alive), workers.send_to, time.monotonic())
        self._end()

    def refuse(self, complaints: list[str]) -> None:
        """The old generation goes on."""
        self._log.event("error", "reload refused", generation=self._generation.number, reason="; ".join(complaints))
        self._report(complaints, [], [])

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

    def exited(self, pid: int) -> None:
        """A worker has died."""
        if self._reload:
            self._reload.exited(pid, time.monotonic())
            self._end()

    def tick(self, now_s: float) -> None:
        """Wait for nobody longer than they may take."""
        if self._loader and (outcome := self._loader.late(now_s)):
            self._read(self._loader, outcome)
        if self._reload:
            self._reload.late(now_s)
            self._end()

    def _end(self) -> None:
        """When it is over: serve the new generation or keep the old one, answer the clients that asked."""
        reload = self._reload
        if reload is None or reload.outcome is None:
            return
        self._reload = None
        if reload.outcome:
            self.refuse(reload.outcome)
        else:
            self._serve(reload)
        self._next()

    def _next(self) -> None:
        """Begin the reload that was asked for meanwhile."""
        self._askers, self._askers_of_next = self._askers_of_next, []
        if self._again:
            self._again = False
            self.begin()

    def _serve(self, reload: Reload) -> None:
        before = self._generation.settings
        self._generation.begin(reload.loaded, reload.generation)
        self._generation.tables.drop_others(reload.loaded.table_paths)
        settings = self._generation.settings
        if before.server.workers != settings.server.workers:
            self._workers.wanted = worker_count(settings)
        notes = needs_restart(before, settings)
        self._log.event("info", "reloaded", generation=reload.generation, **reload.loaded.summary)
        for note in notes:
            self._log.event("warning", "setting needs a restart", reason=note)
        self._report([], notes, [str(warning) for warning in reload.loaded.warnings])

    def _report(self, complaints: list[str], notes: list[str], warnings: list[str]) -> None:
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
    return [f"{name} has changed: it takes effect with a restart or an upgrade (signal USR2)" for name in changed]
