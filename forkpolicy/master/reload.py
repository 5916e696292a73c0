"""A reload in three steps: a child reads the files and shows that a generation comes of them (loader.py), every worker
prepares it next to the one that serves, then all commit (two_phase_commit.py).

`Reloader` begins one, serves what it brings, and reports to log, systemd and the clients that asked. It raises nothing,
whatever comes of the files: a policy that cannot be loaded is a list of diagnostics.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from forkpolicy.control_messages import ReloadReply
from forkpolicy.errors import ConfigError
from forkpolicy.master.generation import needs_restart
from forkpolicy.master.loader import Loader
from forkpolicy.master.two_phase_commit import TwoPhaseCommit
from forkpolicy.master.workers import worker_count
from forkpolicy.messages import RefusedFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.log import LogPipe
    from forkpolicy.master.generation import Generation
    from forkpolicy.master.loader import Load, Outcome
    from forkpolicy.master.processes.spawn import Worker
    from forkpolicy.master.servable import Servable
    from forkpolicy.master.sockets.loop import Loop
    from forkpolicy.master.state_keeper import StateKeeper
    from forkpolicy.master.workers import Workers
    from forkpolicy.messages import Outline
    from forkpolicy.notify import Notifier

    OnDone = Callable[[ReloadReply], None]


class Reloader:
    """All reloads, one at a time. Owns the generation that serves.

    `load` is run in a child; `unpack` makes of what it gives what the master knows of a generation.
    """

    def __init__(
        self,
        generation: Generation,
        load: Load,
        unpack: Callable[[Outline], Servable],
        loop: Loop,
        workers: Workers,
        keeper: StateKeeper,
        log: LogPipe,
        notifier: Notifier,
    ) -> None:
        self._generation = generation
        self._load = load
        self._unpack = unpack
        self._loop = loop
        self._workers = workers
        self._keeper = keeper
        self._log = log
        self._notifier = notifier
        self._loader: Loader | None = None
        # What waits for the state process before workers prepare it.
        self._beginning: Servable | None = None
        self._reload: TwoPhaseCommit | None = None
        self._on_done: list[OnDone] = []
        self._next_on_done: list[OnDone] = []
        self._again = False

    @property
    def under_way(self) -> bool:
        """Whether one is."""
        return not (self._loader is None and self._beginning is None and self._reload is None)

    @property
    def commits(self) -> bool:
        """Whether workers swap generations just now: none is started or retired meanwhile."""
        return self._reload is not None and self._reload.committing

    @property
    def table_paths(self) -> tuple[str, ...]:
        """The tables that workers may serve: of a reload under way, too, since some have committed before others."""
        coming = self._reload.loaded.table_paths if self._reload else ()
        return (*self._generation.loaded.table_paths, *coming)

    def report_to(self, on_done: OnDone) -> None:
        """Call `on_done` with the outcome of the next reload that begins: one that is under way has read its files."""
        (self._next_on_done if self.under_way else self._on_done).append(on_done)

    def begin(self) -> None:
        """Read everything again; on any mistake the old generation goes on. Several at once are one more."""
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
        """End a reload that no worker has begun to prepare."""
        if self._loader:
            self._again = False
            self._read(self._loader, RefusedFiles((reason,)))
        elif self._beginning:
            self._again = False
            self._begun(self._beginning, reason)

    def on_exit(self, pid: int, status: int) -> bool:
        """Note the exit of the child that loads. False: it was another process."""
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
            # It has died; its status will show how.
            self._loop.unregister(loader)

    def _read(self, loader: Loader, outcome: Outcome) -> None:
        """The files are read, or will not be."""
        self._loop.unregister(loader)
        loader.end()
        self._loader = None
        loaded = self._servable(outcome)
        if loaded is None:
            self._next()
        elif loaded.remembers:
            self._beginning = loaded
            self._keeper.begin(lambda reason: self._begun(loaded, reason))
        else:
            self._prepare(loaded)

    def _begun(self, loaded: Servable, reason: str) -> None:
        """Workers may open the maps of what is remembered, or cannot for this reason."""
        if loaded is not self._beginning:
            return
        self._beginning = None
        if reason:
            self.refuse([f"what the policy remembers cannot be kept: {reason}"])
            self._next()
        else:
            self._prepare(loaded)

    def _prepare(self, loaded: Servable) -> None:
        # Those that are ending, too: until its last connection has gone, a worker answers.
        workers, number = self._workers, self._generation.number + 1
        self._reload = TwoPhaseCommit(loaded, number, lambda: list(workers.alive), workers.send_to, time.monotonic())
        self._end()

    def _servable(self, outcome: Outcome) -> Servable | None:
        """What workers can serve with; None, and the reload is refused, where there is nothing."""
        if isinstance(outcome, RefusedFiles):
            if outcome.bug:
                self._log.event("critical", "bug", traceback=outcome.bug)
            self.refuse(list(outcome.reasons))
            return None
        try:
            return self._unpack(outcome.outline)
        except (ConfigError, MemoryError) as error:
            self.refuse([str(error) or "there is not enough memory for what was loaded"])
            return None

    def refuse(self, diagnostics: list[str]) -> None:
        """Report why the old generation goes on."""
        self._keeper.want(wanted=self._generation.loaded.remembers)
        self._log.event("error", "reload refused", generation=self._generation.number, reason="; ".join(diagnostics))
        self._report(diagnostics, [], [])

    def prepared(self, pid: int, generation: int, diagnostics: Sequence[str]) -> None:
        """Note that a worker has prepared that generation, or why it cannot."""
        if self._reload and generation == self._reload.generation:
            self._reload.prepared(pid, diagnostics, time.monotonic())
            self._end()

    def committed(self, pid: int, generation: int) -> None:
        """Note that a worker serves that generation."""
        if self._reload and generation == self._reload.generation:
            self._reload.committed(pid, time.monotonic())
            self._end()

    def exited(self, worker: Worker) -> None:
        """Note that a worker has died: it is not waited for."""
        if self._reload:
            self._reload.exited(worker.pid, time.monotonic())
            self._end()

    def tick(self, now_s: float) -> None:
        """End a reload, or a part of it, that takes too long."""
        if self._loader and (outcome := self._loader.late(now_s)):
            self._read(self._loader, outcome)
        if self._reload:
            if self._reload.starts_are_late(now_s):
                self._workers.end_late_starts(self._reload.waiting_for)
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
        self._on_done, self._next_on_done = self._next_on_done, []
        if self._again:
            self._again = False
            self.begin()

    def _serve(self, reload: TwoPhaseCommit) -> None:
        previous = self._generation.settings
        self._generation.begin(reload.loaded, reload.generation)
        self._generation.tables.drop_others(reload.loaded.table_paths)
        self._keeper.want(wanted=reload.loaded.remembers)
        settings = self._generation.settings
        if previous.server.workers != settings.server.workers:
            self._workers.wanted = worker_count(settings)
        notes = needs_restart(previous, settings)
        self._log.event("info", "reloaded", generation=reload.generation, **reload.loaded.summary.as_fields)
        for note in notes:
            self._log.event("warning", "setting needs a restart", reason=note)
        self._report([], notes, [str(warning) for warning in reload.loaded.warnings])

    def _report(self, diagnostics: list[str], notes: list[str], warnings: list[str]) -> None:
        number = self._generation.number
        self._notifier.ready(f"{len(self._workers)} workers serve generation {number}")
        answer = ReloadReply(not diagnostics, number, tuple(diagnostics), tuple(notes), tuple(warnings))
        to_call, self._on_done = self._on_done, []
        for on_done in to_call:
            on_done(answer)
