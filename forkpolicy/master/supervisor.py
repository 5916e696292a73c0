"""The master: one loop that does what signals, workers and operators ask for. Puts the parts together and passes on
between them what one reports and another must know; each part owns its state.

Knows processes, not mail: `load` gives it something opaque that workers serve with, `program` is what a worker does.
Each turn of the loop takes what has come (signals, messages of workers, commands), then does what is due: hung workers,
starts, deadlines, the watchdog. Nothing here waits for a worker, a client or a disk.

Raises nothing: what can be wrong at the start is found by what makes the sockets; later faults are logged and handled.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, ClassVar

from forkpolicy.errors import EXIT_DONE, EXIT_NO
from forkpolicy.master.generation import Generation
from forkpolicy.master.good_tables import GoodTables
from forkpolicy.master.lock_watch import LockWatch
from forkpolicy.master.processes.helpers import Helpers
from forkpolicy.master.processes.waitpid import exited_children
from forkpolicy.master.reload import Reloader
from forkpolicy.master.signals import Signals
from forkpolicy.master.sockets.clients import ControlServer, MasterCommands
from forkpolicy.master.sockets.loop import Loop
from forkpolicy.master.status import describe
from forkpolicy.master.stopping import Stopper
from forkpolicy.master.takeover import Takeover
from forkpolicy.master.upgrade import Upgrader
from forkpolicy.master.worker_messages import WorkerMessages
from forkpolicy.master.workers import Workers
from forkpolicy.master.zones import Zones
from forkpolicy.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.control_messages import ReloadReply
    from forkpolicy.master.loader import Load
    from forkpolicy.master.processes.exporter import Exporter
    from forkpolicy.master.processes.helper_process import HelperProcess
    from forkpolicy.master.processes.logger import Logger
    from forkpolicy.master.servable import Servable
    from forkpolicy.master.sockets.inherited import InheritedSockets
    from forkpolicy.master.sockets.listener import Listener
    from forkpolicy.master.state_keeper import StateKeeper
    from forkpolicy.master.workers import WorkerProgram
    from forkpolicy.messages import Outline
    from forkpolicy.scoreboard import Scoreboard
    from forkpolicy.status import Status

# How long a turn of the loop takes at most, when nothing happens.
TURN_S = 0.5
# So many workers that died at their start, and never one that served: the start has failed, and must end so.
FAILED_STARTS = 6


class Master:
    """The master process. Its own state is how far it has come: started, stopping, replaced."""

    def __init__(
        self,
        loaded: Servable,
        load: Load,
        unpack: Callable[[Outline], Servable],
        program: WorkerProgram,
        sockets: InheritedSockets,
        control_listener: Listener,
        loggers: Sequence[Logger],
        scoreboard: Scoreboard,
        keeper: StateKeeper,
        read_lock_holder: Callable[[], int],
        exporter: Exporter | None = None,
        inherited: InheritedSockets | None = None,
        watcher: HelperProcess | None = None,
    ) -> None:
        """`sockets` is everything that an upgrade passes on; `inherited`: what a master that we replace has passed. The
        first of `loggers` has the log.
        """
        self.listeners = sockets.listeners
        self.loggers = loggers
        self.log = log = loggers[0].pipe.named(process="master", pid=os.getpid())
        tables = GoodTables(inherited.tables if inherited else None)
        number = inherited.generation + 1 if inherited else 1
        self.generation = Generation(loaded, number, tables, needs_all_tables=inherited is not None)
        self.notifier = Notifier()
        self.signals = Signals()
        self.loop = Loop()
        self.workers = Workers(self.generation, program, self.loop, log, scoreboard)
        self.keeper = keeper
        self.lock_watch = LockWatch(read_lock_holder, self.workers, keeper, log)
        self.reloader = Reloader(self.generation, load, unpack, self.loop, self.workers, keeper, log, self.notifier)
        self.zones = Zones(self.generation, self.workers, log)
        messages = WorkerMessages(self.generation, self.reloader, self.zones, log, self.worker_ready, self.worker_unfit)
        self.workers.listen(messages.handle, self.reloader.exited)
        self.takeover = Takeover(inherited)
        self.upgrader = Upgrader(sockets, self.loop, log, self.give_way)
        self.stopper = Stopper(sockets, self.workers, log, self.notifier)
        commands = MasterCommands(self.describe, self.reload, self.workers.scale_to, self.stop, keeper.command)
        self.control = ControlServer(control_listener, self.loop, commands)
        self.helpers = Helpers(loggers, exporter, watcher, log)
        self.reload_later = False
        self.started = False
        self.started_ns = time.monotonic_ns()
        self.serves_instead = 0
        self.failed_start = False
        self.last_turn_s = time.monotonic()

    @property
    def stopping(self) -> bool:
        """Whether the end has begun."""
        return self.stopper.under_way

    @property
    def replaced(self) -> bool:
        """Whether another master serves in our place."""
        return self.serves_instead != 0

    def describe(self) -> Status:
        """What `status` shows."""
        sockets = (listener.endpoint for listener in self.listeners)
        return describe(
            sockets,
            self.generation,
            self.workers,
            [logger.losses for logger in self.loggers],
            self.helpers.describe(),
            self.keeper,
            self.zones.describe(),
            started_ns=self.started_ns,
            stopping=self.stopping,
        )

    def run(self) -> int:
        """Serve until a signal or an operator ends it; the exit status."""
        self.signals.catch()
        # It wakes the loop; signals are taken before all else in any case.
        self.loop.register(self.signals, lambda _events: None)
        for logger in self.loggers:
            self.loop.register(logger, logger.asked)
        self.keeper.listen(self.loop)
        if not self.takeover.under_way:
            self.control.start()
        while not ((self.stopping or self.replaced) and not self.workers):
            if not (self.stopping or self.replaced or self.reloader.commits):
                self.workers.keep()
            pause_s = min(TURN_S, self.workers.backoff.wait_s(time.monotonic()) or TURN_S, self.lock_watch.pause_s)
            ready = self.loop.wait(pause_s)
            for signum in self.signals.take():
                self.SIGNALS[signum](self)
            for callback, events in ready:
                callback(events)
            self.tick()
        self.finish()
        return EXIT_NO if self.failed_start else EXIT_DONE

    def tick(self) -> None:
        """Do what is due by the clock."""
        now_s = time.monotonic()
        # After a stop or a suspend of our own we have seen no beats: not the workers' fault, look again next turn.
        slept = now_s - self.last_turn_s > self.generation.settings.server.hang_timeout / 2
        self.last_turn_s = now_s
        self.reloader.tick(now_s)
        self.control.tick(now_s)
        if self.reload_later and self.started and not self.takeover.old_master_hands_over:
            self.reload_later = False
            self.reload()
        if not self.started and self.workers.backoff.failures >= FAILED_STARTS:
            self.fail("workers die before they serve")
        self.lock_watch.look(now_s, slept=slept)
        self.workers.tick(now_s, slept=slept)
        self.keeper.tick(now_s)
        self.upgrader.tick(now_s)
        if not (self.stopping or self.replaced):
            self.zones.tick(now_s)
        if not self.stopping:
            self.helpers.keep(now_s, self.control.adopt)
        self.stopper.tick(now_s)
        for logger in self.loggers:
            logger.losses.look(now_s)
        if self.workers.deadlines.beating(self.workers.alive.values(), now_s):
            self.notifier.watchdog(now_s)

    def worker_ready(self) -> None:
        """With the last of the first workers the start is complete."""
        if not self.started and self.workers.all_ready:
            self.started = True
            self.report_started()

    def worker_unfit(self, reason: str) -> None:
        """A worker cannot open all tables, and those of the master that we were to replace can."""
        if self.takeover.under_way:
            self.refuse_takeover(reason)

    def report_started(self) -> None:
        """One line with everything that serves, and reports to systemd and to a master that we replace."""
        sockets = ",".join(listener.endpoint for listener in self.listeners)
        first = next(iter(self.workers.alive.values()))
        tables = ",".join(f"{table.name}@{table.version or 'none'}" for table in first.state.tables) or "-"
        summary = {**self.generation.loaded.summary.as_fields, "tables": tables}
        self.log.event(
            "info",
            "started",
            sockets=sockets,
            workers=len(self.workers),
            generation=self.generation.number,
            turn=self.workers.turn,
            **summary,
        )
        self.notifier.ready(f"{len(self.workers)} workers serve {sockets}")
        if self.takeover.under_way:
            self.generation.needs_all_tables = False
            self.takeover.finish()
            self.keeper.lock.sign()
            self.control.start()

    def reap(self) -> None:
        """Pass each child that has died to the part that has started it."""
        for pid, status in exited_children():
            if pid == self.serves_instead:
                # What our workers have given away is not taken any more: they take it back and answer it.
                self.serves_instead = 0
                self.control.start()
                self.stopper.begin(replaced=False)
            elif not any(
                part.on_exit(pid, status) for part in (self.workers, self.upgrader, self.reloader, self.keeper)
            ):
                self.helpers.on_exit(pid, status, stopping=self.stopping)

    def reload(self, on_done: Callable[[ReloadReply], None] | None = None) -> None:
        """Read everything again. `on_done` is called with the outcome, where there is one."""
        if on_done:
            self.reloader.report_to(on_done)
        if self.takeover.old_master_hands_over or not self.started:
            # What a reload has replaced must not answer any more, and the old master's workers still do; and before the
            # first worker serves, systemd must not read that a reload is done.
            self.reload_later = True
        elif self.upgrader.under_way:
            # The new master has perhaps read the files already: both must serve the same. systemd waits for RELOADING
            # and READY.
            self.notifier.reloading()
            self.reloader.refuse(["an upgrade is under way: reload when it is done"])
        elif not (self.stopping or self.replaced):
            self.reloader.begin()

    def upgrade(self) -> None:
        """Start a new master on our sockets."""
        busy = self.upgrader.under_way or self.reloader.under_way or self.takeover.old_master_hands_over
        if busy or self.stopping or self.replaced or not self.started:
            self.upgrader.refuse("a start, an upgrade, a reload or a stop is under way")
        else:
            self.upgrader.begin(self.generation.number, self.generation.tables.fds, self.keeper.lock.fd)

    def give_way(self, new_pid: int) -> None:
        """Leave everything to the new master: commands, metrics, and the connections of our workers."""
        self.log.event("info", "upgraded", new_pid=new_pid, workers=len(self.workers))
        self.serves_instead = new_pid
        self.notifier.replaced_by(new_pid)
        self.helpers.leave_to_new_master()
        self.control.stop()
        self.workers.retire_all()

    def fail(self, reason: str) -> None:
        """End a start after which nothing serves."""
        self.failed_start = True
        if self.takeover.under_way:
            self.refuse_takeover(reason)
        else:
            self.stop()

    def refuse_takeover(self, reason: str) -> None:
        """Leave everything to the master that we were to replace: the sockets are its own as they are ours."""
        self.failed_start = True
        self.serves_instead = self.takeover.refuse(reason)
        self.workers.kill_all(reason)

    def scale_by(self, count: int) -> None:
        """Run so many workers more."""
        self.workers.scale_to(self.workers.wanted + count)

    def stop(self) -> None:
        """Begin to stop."""
        if not self.stopping:
            self.upgrader.abort("stopped meanwhile")
            self.reloader.abort("stopped meanwhile")
            if self.takeover.under_way and not self.replaced:
                self.refuse_takeover("stopped meanwhile")
            self.stopper.begin(replaced=self.replaced)

    def stop_or_kill(self) -> None:
        """INT: once is graceful, twice is now."""
        if self.stopping:
            self.stopper.kill("interrupted twice")
        self.stop()

    def reopen_logs(self) -> None:
        """USR1: their files were rotated."""
        for logger in self.loggers:
            logger.reopen()

    SIGNALS: ClassVar[dict[int, Callable[[Master], None]]] = {
        signal.SIGCHLD: reap,
        signal.SIGTERM: stop,
        signal.SIGINT: stop_or_kill,
        signal.SIGHUP: reload,
        signal.SIGUSR1: reopen_logs,
        signal.SIGUSR2: upgrade,
        signal.SIGTTIN: lambda self: self.scale_by(1),
        signal.SIGTTOU: lambda self: self.scale_by(-1),
    }

    def finish(self) -> None:
        """The last acts: sockets, clients, the log."""
        for listener in (*self.listeners, self.control.listener):
            listener.close(remove=not self.replaced)
        self.helpers.finish(remove=not self.replaced)
        self.keeper.end()
        self.log.event("info", "stopped")
        for logger in reversed(self.loggers):
            logger.finish()
        self.control.close()
