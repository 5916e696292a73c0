"""The master: one loop that keeps the wanted number of workers alive, and does what signals and operators ask.

Knows processes, not mail: `load` gives it something opaque that workers serve with, `run_worker` is what a worker
does. Each turn of the loop takes what has come (signals, messages of workers, commands), then looks after time:
hung workers, births, deadlines, the watchdog. Nothing here waits for a worker, a client or a disk.

What it raises at start are ConfigError and CannotWriteError; afterwards nothing: trouble is logged and met.
"""

from __future__ import annotations

import math
import os
import selectors
import signal
import time
from typing import TYPE_CHECKING, Any, ClassVar

from forkpolicy.errors import EXIT_DONE, EXIT_NO, ConfigError
from forkpolicy.master import control, spawn
from forkpolicy.master.backoff import Backoff
from forkpolicy.master.notify import Notifier
from forkpolicy.master.reload import Reload
from forkpolicy.master.signals import Signals
from forkpolicy.master.upgrade import UP_TIMEOUT_S, Upgrade
from forkpolicy.process import usable_cores
from forkpolicy.scoreboard import MAX_WORKERS, Scoreboard

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from forkpolicy.link import Message
    from forkpolicy.master.companion import Companion
    from forkpolicy.master.control import ControlClient
    from forkpolicy.master.exporter import Exporter
    from forkpolicy.master.listener import Listener
    from forkpolicy.master.logger import Logger
    from forkpolicy.master.spawn import Worker
    from forkpolicy.master.upgrade import Passed
    from forkpolicy.settings import Settings

# How often the loop looks after time when nothing happens.
TURN_S = 0.5
# What it is stuck in is logged before it is killed (faulthandler needs no interpreter loop).
DUMP_BEFORE_KILL_S = 1.0
STOP_TIMEOUT_S = 10.0
# A worker that dies younger than this has died at birth; one that gets older proves that births are healthy.
INFANT_S = 2.0
# So many deaths at birth, and never a worker that served: the start has failed, and whoever started us should know.
FAILED_STARTS = 6
# A metrics process that ends is started again, but no more often than this.
EXPORTER_DELAY_S = 1.0


class Master:
    """The whole state of the master process."""

    def __init__(
        self,
        loaded: Any,
        load: Callable[[], Any],
        run_worker: Callable[[Any, int, int, socket.socket], None],
        sockets: Passed,
        control_listener: Listener,
        logger: Logger,
        scoreboard: Scoreboard,
        exporter: Exporter | None = None,
        before: Passed | None = None,
        watcher: Companion | None = None,
    ) -> None:
        """`sockets` is everything that an upgrade passes on; `before`: what a master that we replace has passed."""
        self.loaded = loaded
        self.load = load
        self.run_worker = run_worker
        self.sockets = sockets
        self.listeners = sockets.listeners
        self.before = before
        self.upgrade: Upgrade | None = None
        self.replaced = False
        self.failed_start = False
        self.control_listener = control_listener
        self.logger = logger
        self.log = logger.pipe.named(process="master", pid=os.getpid())
        self.scoreboard = scoreboard
        self.generation = before.generation + 1 if before else 1
        self.wanted_workers = worker_count(self.settings)
        self.workers: dict[int, Worker] = {}
        self.backoff = Backoff()
        self.notifier = Notifier()
        self.signals = Signals()
        self.selector = selectors.DefaultSelector()
        self.clients: dict[ControlClient, None] = {}
        self.reload: Reload | None = None
        self.reload_askers: list[ControlClient] = []
        self.reload_again = False
        self.stop_deadline_s: float | None = None
        self.ready_told = False
        self.last_turn_s = time.monotonic()
        self.watchdog_at_s = 0.0
        self.exporter = exporter
        self.exporter_at_s = 0.0
        self.watcher = watcher

    @property
    def settings(self) -> Settings:
        """The settings of the generation that serves."""
        settings: Settings = self.loaded.settings
        return settings

    @property
    def stopping(self) -> bool:
        """Whether the end has begun."""
        return self.stop_deadline_s is not None

    # The loop

    def run(self) -> int:
        """Serve until told to stop; the exit status."""
        self.signals.catch()
        self.selector.register(self.signals, selectors.EVENT_READ)
        if not self.before:
            self.obey_operators()
        while not ((self.stopping or self.replaced) and not self.workers):
            self.keep_workers()
            ready = self.selector.select(self.pause_s())
            for key, _ in ready:
                if key.fileobj is self.signals:
                    for signum in self.signals.take():
                        self.SIGNALS[signum](self)
            for key, events in ready:
                if isinstance(key.data, spawn.Worker):
                    self.hear_stderr(key.data)
                else:
                    self.attend(key.fileobj, events)
            self.look_after_time()
        self.finish()
        return EXIT_NO if self.failed_start else EXIT_DONE

    def obey_operators(self) -> None:
        """Take commands from now on: two masters on one control socket would share them by chance."""
        self.selector.register(self.control_listener.sock, selectors.EVENT_READ)

    def pause_s(self) -> float:
        """How long the loop may sleep."""
        now_s = time.monotonic()
        pause_s = self.backoff.wait_s(now_s) or TURN_S
        return min(TURN_S, pause_s)

    def attend(self, what: object, events: int) -> None:
        """Take what one descriptor has."""
        if isinstance(what, spawn.Worker):
            self.hear_worker(what, events)
        elif isinstance(what, control.ControlClient):
            self.hear_client(what, events)
        elif isinstance(what, Upgrade):
            self.hear_upgrade(what)
        elif what is self.control_listener.sock:
            client = control.accept(self.control_listener)
            if client and len(self.clients) < control.MAX_CLIENTS:
                self.clients[client] = None
                self.selector.register(client, selectors.EVENT_READ)
            elif client:
                client.sock.close()

    def look_after_time(self) -> None:
        """What nobody sends a message for."""
        now_s = time.monotonic()
        # Stopped or suspended ourselves, we have seen no beats: not the workers' fault, look again next turn.
        slept = now_s - self.last_turn_s > self.settings.server.hang_timeout / 2
        self.last_turn_s = now_s
        if self.reload:
            self.reload.late(now_s)
            self.end_reload()
        if not slept:
            self.kill_the_hung(now_s)
        if self.failed_start:
            self.stop()
        if self.backoff.failures and any(self.has_lived(worker, now_s) for worker in self.workers.values()):
            self.backoff.served()
        for worker in self.workers.values():
            self.tell_stderr(worker, now_s)
        if self.upgrade and now_s > self.upgrade.deadline_s:
            self.give_up_upgrade(f"it does not serve within {UP_TIMEOUT_S:g} s")
        if self.exporter and not self.exporter.pid and not self.stopping and now_s >= self.exporter_at_s:
            self.start_exporter(self.exporter)
        if self.watcher and not self.watcher.pid and not self.stopping and now_s >= self.watcher.not_before_s:
            self.start_companion(self.watcher, now_s)
        if self.stop_deadline_s is not None and now_s > self.stop_deadline_s:
            self.kill_all("did not stop in time")
        if self.notifier.watchdog_s and now_s >= self.watchdog_at_s and self.beating(now_s):
            self.notifier.watchdog()
            self.watchdog_at_s = now_s + self.notifier.watchdog_s

    # Workers

    def keep_workers(self) -> None:
        """Have as many workers as wanted: start some, or let the newest go."""
        if self.stopping or self.reload or self.replaced:
            return
        present = [worker for worker in self.workers.values() if worker.wanted]
        for worker in sorted(present, key=lambda each: each.born_s)[self.wanted_workers :]:
            self.retire(worker)
        missing = self.wanted_workers - len(present)
        # While births fail, one at a time shows whether they still do.
        births = min(missing, 1) if self.backoff.failures else missing
        if self.backoff.wait_s(time.monotonic()) == 0:
            for _ in range(births):
                self.start_worker()

    def start_worker(self) -> None:
        """One birth."""
        taken = {worker.slot for worker in self.workers.values()}
        slot = next(number for number in range(MAX_WORKERS) if number not in taken)
        loaded, generation = self.loaded, self.generation
        drop = [*self.dropped_by_children(), self.logger.drop_in_child]
        if self.exporter:
            drop.append(self.exporter.listener.sock.close)
        try:
            worker = spawn.spawn(
                slot, generation, lambda sock: self.run_worker(loaded, generation, slot, sock), drop, self.tell_bug
            )
        except OSError as error:
            delay_s = self.backoff.died_at_birth(time.monotonic())
            self.log.event("error", "worker not started", reason=error.strerror, next_try_s=delay_s)
            return
        self.workers[worker.pid] = worker
        self.selector.register(worker, selectors.EVENT_READ)
        self.selector.register(worker.stderr, selectors.EVENT_READ, worker)

    def tell_bug(self, trace: str) -> None:
        """In a worker that ends of a bug: say so. The end of a traceback says most, if it does not fit."""
        self.log.named(process="worker", pid=os.getpid()).event("critical", "bug", traceback=trace[-2500:])

    def dropped_by_children(self) -> list[Callable[[], None]]:
        """What a child closes of the master's, first of all."""
        drop: list[Callable[[], None]] = [self.signals.drop_in_child, self.selector.close]
        drop += [each.sock.close for each in self.workers.values()]
        drop += [each.stderr.close for each in self.workers.values()]
        drop += [each.sock.close for each in self.clients]
        drop += [self.upgrade.close] if self.upgrade else []
        return [*drop, self.control_listener.sock.close]

    def start_exporter(self, exporter: Exporter) -> None:
        """The birth of the metrics process; it asks for `status` as operators do."""
        self.exporter_at_s = time.monotonic() + EXPORTER_DELAY_S
        drop = [*self.dropped_by_children(), *(each.sock.close for each in self.listeners)]
        drop.append(self.logger.drop_in_child)
        # It logs nothing, and the logger ends when the last writer has gone.
        drop.append(lambda: os.close(self.logger.pipe.fd))
        try:
            client = control.ControlClient(exporter.start(drop))
        except OSError as error:
            self.log.event("error", "metrics process not started", reason=error.strerror)
            return
        self.clients[client] = None
        self.selector.register(client, selectors.EVENT_READ)

    def start_companion(self, companion: Companion, now_s: float) -> None:
        """The birth of another process of ours."""
        drop = [*self.dropped_by_children(), *(each.sock.close for each in self.listeners), self.logger.drop_in_child]
        try:
            companion.start(drop, now_s)
        except OSError as error:
            self.log.event("error", f"{companion.name} not started", reason=error.strerror)

    def retire(self, worker: Worker, *, others_wait: bool = False) -> None:
        """Let a worker hand its connections over and go. It may take its time: what it cannot give, it serves."""
        worker.wanted = False
        self.tell(worker, {"do": "retire", "others_wait": others_wait})

    def tell(self, worker: Worker, message: Message) -> None:
        """Send a message, and wait for room where there is none."""
        if worker.sock.fileno() < 0:
            return
        worker.send(message)
        self.watch(worker)

    def watch(self, what: Worker | ControlClient) -> None:
        """Be woken for reading, and for writing while something is unsent."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if what.unsent else 0)
        self.selector.modify(what, events)

    def hear_worker(self, worker: Worker, events: int) -> None:
        """Take a worker's messages; at the end of its link it is dying, and SIGCHLD will say how."""
        if worker.pid not in self.workers:
            return
        if events & selectors.EVENT_WRITE:
            worker.flush()
            self.watch(worker)
        if events & selectors.EVENT_READ:
            try:
                messages = worker.receive()
                for message in messages or ():
                    self.heed(worker, message)
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                # A worker meets strangers' bytes. Whatever has become of it, the master must not die of what it says.
                fields = {"worker": worker.slot, "worker_pid": worker.pid}
                self.log.event("critical", "worker talks nonsense", **fields, reason=repr(error), action="kill")
                _kill(worker.pid, signal.SIGKILL)
                messages = None
            if messages is None:
                self.selector.unregister(worker)
                worker.sock.close()
                # Closed without dying is a death that somebody has to bring about.
                worker.kill_at_s = worker.kill_at_s or time.monotonic() + DUMP_BEFORE_KILL_S

    def hear_stderr(self, worker: Worker) -> None:
        """Take what a worker writes to standard error."""
        if worker.stderr.fileno() >= 0 and not worker.stderr.read():
            self.selector.unregister(worker.stderr)
            worker.stderr.close()

    def tell_stderr(self, worker: Worker, now_s: float) -> None:
        """Log what a worker has said."""
        while text := worker.stderr.said(now_s):
            self.log.event("warning", "worker said", worker=worker.slot, worker_pid=worker.pid, text=text)

    def heed(self, worker: Worker, message: Message) -> None:
        """Act on one message. Raises whatever comes of one that is none."""
        if not isinstance(message.get("state", {}), dict):
            raise TypeError("a state that is none")
        self.MESSAGES[message["is"]](self, worker, message)

    def worker_ready(self, worker: Worker, message: Message) -> None:
        """It serves."""
        worker.ready = True
        worker.state = message["state"]
        self.log.event("info", "worker ready", worker=worker.slot, worker_pid=worker.pid)
        if not self.ready_told and all(each.ready for each in self.workers.values()):
            self.ready_told = True
            self.tell_started()

    def worker_state(self, worker: Worker, message: Message) -> None:
        """It serves other tables than before."""
        worker.state = message["state"]

    def worker_prepared(self, worker: Worker, message: Message) -> None:
        """It has prepared a reload, or says why it cannot."""
        if self.reload and message["generation"] == self.reload.generation:
            self.reload.prepared(worker.pid, message["complaints"], time.monotonic())
            self.end_reload()

    def worker_committed(self, worker: Worker, message: Message) -> None:
        """It serves the new generation."""
        worker.generation = message["generation"]
        worker.state = message["state"]
        if self.reload:
            self.reload.committed(worker.pid, time.monotonic())
            self.end_reload()

    def worker_retiring(self, worker: Worker, message: Message) -> None:
        """It has its reasons (age, memory, a signal) to go; another takes its place."""
        worker.wanted = False
        self.log.event("info", "worker retires", worker=worker.slot, worker_pid=worker.pid, reason=message["reason"])

    MESSAGES: ClassVar[dict[str, Callable[[Master, Worker, Message], None]]] = {
        "ready": worker_ready,
        "state": worker_state,
        "prepared": worker_prepared,
        "committed": worker_committed,
        "retiring": worker_retiring,
    }

    def reap(self) -> None:
        """Take note of every child that has died; whoever is missing is started by `keep_workers`."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.workers:
                self.bury(self.workers.pop(pid), status)
            elif self.upgrade and pid == self.upgrade.pid:
                self.give_up_upgrade(f"the new master ended: {_how(status)}; it says why on standard error")
            elif pid == self.logger.pid:
                self.logger.start([*self.dropped_by_children(), *(each.sock.close for each in self.listeners)])
                self.log.event("error", "logger replaced", reason=_how(status))
            elif self.watcher and pid == self.watcher.pid:
                self.watcher.pid = 0
                self.log.event("warning", f"{self.watcher.name} ended", how=_how(status))
            elif self.exporter and pid == self.exporter.pid:
                self.exporter.pid = 0
                if not self.stopping:
                    self.log.event("warning", "metrics process ended", how=_how(status))

    def bury(self, worker: Worker, status: int) -> None:
        """One worker has died."""
        # Its last words were written before; those of its children, if a library had any, do not matter.
        while worker.stderr.fileno() >= 0 and worker.stderr.pending:
            self.hear_stderr(worker)
        if worker.stderr.fileno() >= 0:
            self.selector.unregister(worker.stderr)
            worker.stderr.close()
        self.tell_stderr(worker, float("inf"))
        if worker.sock.fileno() >= 0:
            self.selector.unregister(worker)
            worker.sock.close()
        slot = self.scoreboard.slot(worker.slot)
        slot["connections"] = slot["pid"] = slot["serving"] = slot["load"] = 0
        now_s = time.monotonic()
        if self.reload:
            self.reload.gone(worker.pid, now_s)
            self.end_reload()
        if not worker.wanted and status == 0:
            self.log.event("info", "worker ended", worker=worker.slot, worker_pid=worker.pid)
            return
        more: dict[str, object] = {}
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        # On its first job: what killed it will kill the next one, unless it came from outside.
        if not worker.ready or (not killed and now_s - worker.born_s < INFANT_S):
            more["next_try_s"] = self.backoff.died_at_birth(now_s)
        if killed:
            more["hint"] = "killed from outside, or by the kernel for want of memory: see dmesg"
        if not self.ready_told and self.backoff.failures >= FAILED_STARTS:
            self.failed_start = True
        level = "warning" if worker.ready else "error"
        self.log.event(level, "worker died", worker=worker.slot, worker_pid=worker.pid, how=_how(status), **more)

    def kill_the_hung(self, now_s: float) -> None:
        """Workers whose loop has not turned for too long, and those whose time to go is over."""
        # A worker's loop beats twice a second; one that has not for so long is stuck in something.
        limit_s = self.settings.server.hang_timeout
        for worker in list(self.workers.values()):
            if worker.kill_at_s is not None:
                if now_s >= worker.kill_at_s:
                    _kill(worker.pid, signal.SIGKILL)
                continue
            silent_s = self.silent_s(worker, now_s)
            if silent_s > limit_s:
                worker.kill_at_s = now_s + DUMP_BEFORE_KILL_S
                fields = {"worker": worker.slot, "worker_pid": worker.pid, "silent_s": round(silent_s, 1)}
                self.log.event("error", "worker hangs", **fields, limit_s=limit_s, action="stack dump, then kill")
                _kill(worker.pid, signal.SIGQUIT)

    def has_lived(self, worker: Worker, now_s: float) -> bool:
        """Whether a worker that was born after the last death at birth has outlived that age."""
        return worker.ready and worker.born_s > self.backoff.failed_at_s and now_s - worker.born_s > INFANT_S

    def silent_s(self, worker: Worker, now_s: float) -> float:
        """How long a worker's loop has not turned; a new one is given the time since its birth."""
        slot = self.scoreboard.slot(worker.slot)
        beat_s = slot["beat_ns"] / 1e9 if slot["pid"] == worker.pid else 0.0
        return now_s - max(beat_s, worker.born_s)

    def beating(self, now_s: float) -> bool:
        """Whether any worker's loop turns: what the watchdog is fed for."""
        limit_s = self.settings.server.hang_timeout
        return any(self.silent_s(worker, now_s) < limit_s for worker in self.workers.values())

    # Start, reload, stop

    def tell_started(self) -> None:
        """One line with everything that serves, and the word to systemd."""
        sockets = ",".join(listener.endpoint for listener in self.listeners)
        first = next(iter(self.workers.values()))
        tables = ",".join(f"{each['name']}@{each['generation'] or 'none'}" for each in first.state["tables"]) or "-"
        summary = {**self.loaded.summary, "tables": tables}
        self.log.event(
            "info", "started", sockets=sockets, workers=len(self.workers), generation=self.generation, **summary
        )
        self.notifier.ready(f"{len(self.workers)} workers serve {sockets}")
        if self.before:
            self.before.tell_serving()
            self.before = None
            self.obey_operators()

    # Upgrade

    def begin_upgrade(self) -> None:
        """Start a new master on our sockets; nothing else changes until it serves."""
        if self.stopping or self.replaced or self.upgrade or self.reload:
            self.log.event("warning", "upgrade not begun", reason="an upgrade, a reload or a stop is under way")
            return
        self.sockets.generation = self.generation
        try:
            self.upgrade = Upgrade(self.sockets)
        except OSError as error:
            self.log.event("error", "upgrade failed", reason=error.strerror, action="this master goes on")
            return
        self.selector.register(self.upgrade, selectors.EVENT_READ)
        self.log.event("info", "upgrade begun", new_pid=self.upgrade.pid)

    def hear_upgrade(self, upgrade: Upgrade) -> None:
        """The new master serves, or has closed its end: then its death says how."""
        if upgrade is not self.upgrade:
            return
        self.selector.unregister(upgrade)
        if upgrade.serves():
            upgrade.close()
            self.upgrade = None
            self.step_aside(upgrade.pid)

    def step_aside(self, new_pid: int) -> None:
        """Let the new master have everything: commands, metrics, and the connections of our workers."""
        self.log.event("info", "upgraded", new_pid=new_pid, workers=len(self.workers))
        self.replaced = True
        self.notifier.replaced_by(new_pid)
        self.selector.unregister(self.control_listener.sock)
        self.exporter = None
        self.end_watcher()
        for client in list(self.clients):
            self.forget(client)
        for worker in self.workers.values():
            self.retire(worker, others_wait=True)

    def give_up_upgrade(self, reason: str) -> None:
        """Back to where we were."""
        upgrade, self.upgrade = self.upgrade, None
        if upgrade is None:
            return
        upgrade.kill()
        if upgrade in self.selector.get_map():
            self.selector.unregister(upgrade)
        upgrade.close()
        self.log.event("error", "upgrade failed", reason=reason, action="this master goes on")

    def begin_reload(self) -> None:
        """Read everything again; what is wrong with it leaves the old one serving."""
        if self.stopping or self.replaced:
            return
        if self.upgrade:
            # The new master has perhaps read the files already: both must serve the same.
            self.tell_reload(["an upgrade is under way: reload when it is done"])
            return
        if self.reload:
            self.reload_again = True
            return
        self.notifier.reloading()
        try:
            loaded = self.load()
        except ConfigError as error:
            self.tell_reload([str(complaint) for complaint in error.complaints])
            return
        pids = [worker.pid for worker in self.workers.values() if worker.wanted]
        self.reload = Reload(loaded, self.generation + 1, pids, self.send_to, time.monotonic())
        self.end_reload()

    def send_to(self, pid: int, message: Message) -> None:
        """Send a message to a worker by pid."""
        if pid in self.workers:
            self.tell(self.workers[pid], message)

    def end_reload(self) -> None:
        """When a reload is over: take up the new generation or keep the old one, and tell who asked."""
        reload = self.reload
        if reload is None or reload.outcome is None:
            return
        self.reload = None
        notes: list[str] = []
        if not reload.outcome:
            before = self.settings
            self.loaded, self.generation = reload.loaded, reload.generation
            notes = needs_restart(before, self.settings)
            if before.server.workers != self.settings.server.workers:
                self.wanted_workers = worker_count(self.settings)
        self.tell_reload(reload.outcome, notes)
        if self.reload_again:
            self.reload_again = False
            self.begin_reload()

    def tell_reload(self, complaints: list[str], notes: list[str] | None = None) -> None:
        """Log how a reload went and answer whoever asked for it."""
        notes = notes or []
        if complaints:
            self.log.event("error", "reload refused", generation=self.generation, reason="; ".join(complaints))
        else:
            self.log.event("info", "reloaded", generation=self.generation, **self.loaded.summary)
        for note in notes:
            self.log.event("warning", "setting not taken up", reason=note)
        self.notifier.ready(f"{len(self.workers)} workers serve generation {self.generation}")
        answer = {"ok": not complaints, "generation": self.generation, "complaints": complaints, "notes": notes}
        askers, self.reload_askers = self.reload_askers, []
        for client in askers:
            self.answer(client, answer)

    def scale_to(self, count: int) -> None:
        """Run that many workers from now on."""
        self.wanted_workers = max(1, min(count, MAX_WORKERS // 2))
        self.log.event("info", "scaled", workers=self.wanted_workers)

    def stop(self) -> None:
        """Begin the end: every worker answers what it has in hand and goes."""
        if self.stopping:
            return
        self.stop_deadline_s = time.monotonic() + STOP_TIMEOUT_S
        self.give_up_upgrade("stopped meanwhile")
        self.log.event("info", "stopping", workers=len(self.workers))
        self.notifier.stopping()
        for worker in self.workers.values():
            worker.wanted = False
            self.tell(worker, {"do": "stop"})

    def stop_or_kill(self) -> None:
        """INT: once is graceful, twice is now."""
        if self.stopping:
            self.kill_all("interrupted twice")
        self.stop()

    def kill_all(self, reason: str) -> None:
        """End every worker now."""
        self.log.event("warning", "killing workers", reason=reason, workers=len(self.workers))
        for worker in self.workers.values():
            _kill(worker.pid, signal.SIGKILL)
        self.stop_deadline_s = time.monotonic() + STOP_TIMEOUT_S

    def end_watcher(self) -> None:
        """Another master has its own, or nobody needs one."""
        if self.watcher:
            self.watcher.end()
            self.watcher = None

    def finish(self) -> None:
        """The last acts: sockets, clients, the log."""
        exported = [self.exporter.listener] if self.exporter else []
        for listener in (*self.listeners, self.control_listener, *exported):
            listener.close(remove=not self.replaced)
        self.end_watcher()
        self.log.event("info", "stopped")
        self.logger.finish()
        for client in self.clients:
            client.sock.close()

    SIGNALS: ClassVar[dict[int, Callable[[Master], None]]] = {
        signal.SIGCHLD: reap,
        signal.SIGTERM: stop,
        signal.SIGINT: stop_or_kill,
        signal.SIGHUP: begin_reload,
        signal.SIGUSR1: lambda self: self.logger.reopen(),
        signal.SIGUSR2: begin_upgrade,
        signal.SIGTTIN: lambda self: self.scale_to(self.wanted_workers + 1),
        signal.SIGTTOU: lambda self: self.scale_to(self.wanted_workers - 1),
    }

    # Commands

    def hear_client(self, client: ControlClient, events: int) -> None:
        """Take an operator's commands."""
        if client not in self.clients:
            return
        if events & selectors.EVENT_WRITE:
            client.flush()
            self.watch(client)
        if events & selectors.EVENT_READ:
            commands = client.commands()
            if commands is None:
                self.forget(client)
                return
            for command in commands:
                self.obey(client, command)

    def forget(self, client: ControlClient) -> None:
        """A client is gone."""
        self.selector.unregister(client)
        client.sock.close()
        self.clients.pop(client, None)
        self.reload_askers = [each for each in self.reload_askers if each is not client]

    def answer(self, client: ControlClient, answer: dict[str, Any]) -> None:
        """Answer a client that is still there."""
        if client in self.clients:
            client.reply(answer)
            self.watch(client)

    def obey(self, client: ControlClient, command: dict[str, Any]) -> None:
        """Do one command."""
        do = self.COMMANDS.get(str(command.get("command")))
        if do is None:
            self.answer(client, {"ok": False, "error": f"unknown command {command.get('command')!r}"})
        else:
            do(self, client, command)

    def command_status(self, client: ControlClient, _command: dict[str, Any]) -> None:
        """Everything about everyone."""
        self.answer(client, {"ok": True, **self.describe()})

    def command_reload(self, client: ControlClient, _command: dict[str, Any]) -> None:
        """Answered when every worker serves the new generation, or why the old one stays."""
        self.reload_askers.append(client)
        self.begin_reload()

    def command_scale(self, client: ControlClient, command: dict[str, Any]) -> None:
        """Run N workers."""
        count = command.get("workers")
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_WORKERS // 2:
            self.answer(client, {"ok": False, "error": f"workers: expected a number from 1 to {MAX_WORKERS // 2}"})
            return
        self.scale_to(count)
        self.answer(client, {"ok": True, "workers": self.wanted_workers})

    def command_stop(self, client: ControlClient, _command: dict[str, Any]) -> None:
        """Answered at once; the end of the connection is the end of the master."""
        self.answer(client, {"ok": True})
        self.stop()

    COMMANDS: ClassVar[dict[str, Callable[[Master, ControlClient, dict[str, Any]], None]]] = {
        "status": command_status,
        "reload": command_reload,
        "scale": command_scale,
        "stop": command_stop,
    }

    def describe(self) -> dict[str, Any]:
        """What `status` shows."""
        workers = sorted(self.workers.values(), key=lambda worker: worker.slot)
        return {
            "pid": os.getpid(),
            "generation": self.generation,
            "sockets": [listener.endpoint for listener in self.listeners],
            "settings": self.settings.path,
            "policy": self.loaded.summary,
            "lines": self.loaded.line_texts,
            "wanted_workers": self.wanted_workers,
            "stopping": self.stopping,
            "monotonic_ns": time.monotonic_ns(),
            "workers": [self.describe_worker(worker) for worker in workers],
        }

    def describe_worker(self, worker: Worker) -> dict[str, Any]:
        """One worker: what the master knows, and its numbers."""
        seen = self.scoreboard.slot(worker.slot).read()
        return {
            "pid": worker.pid,
            "slot": worker.slot,
            "ready": worker.ready,
            "retiring": not worker.wanted,
            "generation": worker.generation,
            "tables": worker.state.get("tables", []),
            "shadow": worker.state.get("shadow"),
            "counters": seen.fields,
            "actions": {verb: count for verb, count in seen.actions.items() if count},
            "latency": list(seen.latency),
            "line_hits": list(seen.line_hits),
            "exempted": list(seen.exempted),
        }


def worker_count(settings: Settings) -> int:
    """The number of the settings; `auto`: one per core that this process may use, quotas included."""
    if settings.server.workers == "auto":
        return max(1, math.ceil(usable_cores(os.getpid())))
    return int(settings.server.workers)


FIXED = ("listen", "socket_mode", "socket_user", "socket_group", "user", "group", "backlog", "control")


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


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        # Real-time signals have numbers only.
        return f"signal {signal.Signals(number).name if number in list(signal.Signals) else number}"
    return f"exit {os.WEXITSTATUS(status)}"


def _kill(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return
