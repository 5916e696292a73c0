"""The workers that live: starts them, sends and receives their messages, ends them. Keeps as many as are wanted.

Owns the processes and their links; knows no reload, no upgrade and no operator: messages and exits are passed on to
what `listen` was called with. Nothing here waits for a worker. Raises nothing: faults are logged and handled.
"""

from __future__ import annotations

import errno
import math
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.cores import usable_cores
from forkpolicy.link import InvalidMessageError
from forkpolicy.master.deadlines import DUMP_BEFORE_KILL_S, Deadlines
from forkpolicy.master.processes.backoff import Backoff
from forkpolicy.master.processes.spawn import spawn
from forkpolicy.master.processes.waitpid import describe_exit, kill
from forkpolicy.master.sockets.loop import READ, WRITE
from forkpolicy.messages import Hurry, Retire, Stop
from forkpolicy.scoreboard import MAX_WORKERS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection

    from forkpolicy.log import LogPipe
    from forkpolicy.master.generation import Generation
    from forkpolicy.master.processes.spawn import Worker
    from forkpolicy.master.sockets.loop import Loop
    from forkpolicy.messages import ToMaster, ToWorker
    from forkpolicy.process import Identity
    from forkpolicy.scoreboard import Scoreboard
    from forkpolicy.settings import Settings

# A worker that dies younger than this has failed to start; one that gets older proves that workers can start.
MIN_LIFETIME_S = 2.0
# Of a dead worker's link and standard error, 4 MiB in all: children that write more do not hold up the master.
MAX_LAST_READS = 64

# No descriptor or no process is free: trying costs next to nothing, and it is over when others release theirs.
FORK_FAILED_DELAY_S = 1.0


@dataclass(frozen=True, slots=True)
class WorkerProgram:
    """What a worker's process does: `run(generation, slot, link)`, as `identity`. `keep`: the descriptors that all of
    them share. `turn`: which implementation of a connection's turn they use, for the log and `status`.
    """

    run: Callable[[Generation, int, socket.socket], None]
    keep: tuple[int, ...]
    identity: Identity | None = None
    turn: str = ""


class Workers:
    """All of them, by pid. `wanted`: how many there should be."""

    def __init__(
        self,
        generation: Generation,
        program: WorkerProgram,
        loop: Loop,
        log: LogPipe,
        scoreboard: Scoreboard,
    ) -> None:
        self.wanted = worker_count(generation.settings)
        self.alive: dict[int, Worker] = {}
        self.scoreboard = scoreboard
        self.backoff = Backoff()
        self._generation = generation
        self._program = program
        self._loop = loop
        self._log = log
        self.deadlines = Deadlines(generation, scoreboard, log)

    def listen(self, on_message: Callable[[Worker, ToMaster], None], on_exit: Callable[[Worker], None]) -> None:
        """Pass on messages and deaths. `on_message` may raise for an invalid message: such a worker is killed."""
        self._on_message, self._on_worker_exit = on_message, on_exit

    @property
    def turn(self) -> str:
        """Which implementation of a connection's turn they use."""
        return self._program.turn

    def __bool__(self) -> bool:
        """Whether any lives."""
        return bool(self.alive)

    def __len__(self) -> int:
        """How many live."""
        return len(self.alive)

    @property
    def all_ready(self) -> bool:
        """Whether every one of them serves."""
        return all(worker.ready for worker in self.alive.values())

    def scale_to(self, count: int) -> None:
        """Run that many from now on."""
        # New workers need slots while the old ones end.
        self.wanted = max(1, min(count, MAX_WORKERS // 2))
        self._log.event("info", "scaled", workers=self.wanted)

    def keep(self) -> None:
        """Have as many as wanted: start some, or retire the newest."""
        present = [worker for worker in self.alive.values() if worker.wanted]
        for worker in sorted(present, key=lambda each: each.started_s)[self.wanted :]:
            self.retire(worker)
        missing = self.wanted - len(present)
        # While starts fail, one at a time shows whether they still do.
        starts = min(missing, 1) if self.backoff.failures else missing
        if self.backoff.wait_s(time.monotonic()) == 0:
            for _ in range(starts):
                if not self._start_one():
                    break

    def _start_one(self) -> bool:
        generation, program = self._generation, self._program
        try:
            slot = self._free_slot()
            worker = spawn(
                slot,
                generation.number,
                lambda link: program.run(generation, slot, link),
                keep=(*program.keep, *generation.tables.fds.values()),
                identity=program.identity,
                report_bug=self._report_bug,
            )
        except OSError as error:
            delay_s = self.backoff.failed_start(time.monotonic(), FORK_FAILED_DELAY_S)
            self._log.event("error", "worker not started", reason=error.strerror, next_try_s=delay_s)
            return False
        self.alive[worker.pid] = worker
        self._loop.register(worker, lambda events: self._on_event(worker, events))
        self._loop.register(worker.stderr, lambda _events: self._read_stderr(worker))
        return True

    def _free_slot(self) -> int:
        """A free slot of the scoreboard. Raises OSError if there is none."""
        taken = {worker.slot for worker in self.alive.values()}
        for number in range(MAX_WORKERS):
            if number not in taken:
                return number
        raise OSError(errno.EAGAIN, f"there are {MAX_WORKERS} workers, most of which are ending")

    def _report_bug(self, trace: str) -> None:
        """In a worker that ends with a bug: log it."""
        self._log.named(process="worker", pid=os.getpid()).event("critical", "bug", traceback=trace)

    def send(self, worker: Worker, message: ToWorker) -> None:
        """Send a message, and wait for room where there is none."""
        if worker.sock.fileno() >= 0:
            worker.send(message)
            self._loop.watch_writable(worker)

    def send_to(self, pid: int, message: ToWorker) -> None:
        """Send a message to the worker with that pid, if it lives."""
        if pid in self.alive:
            self.send(self.alive[pid], message)

    def _on_event(self, worker: Worker, events: int) -> None:
        """Take a worker's messages; at the end of its link it is dying, and SIGCHLD will show how."""
        if worker.pid not in self.alive:
            return
        if events & WRITE:
            worker.flush()
            self._loop.watch_writable(worker)
        if events & READ and not self._handle_messages(worker):
            self._loop.unregister(worker)
            worker.close()
            # It may have closed its link without dying: then it must be killed.
            worker.kill_at_s = worker.kill_at_s or time.monotonic() + DUMP_BEFORE_KILL_S

    def _handle_messages(self, worker: Worker) -> bool:
        """Pass on its messages; False after the last one."""
        try:
            messages = worker.receive()
            for message in messages or ():
                self._on_message(worker, message)
        except InvalidMessageError as error:
            # A worker reads bytes of strangers. Whatever it has become, the master must not die of its messages.
            fields = {"worker": worker.slot, "worker_pid": worker.pid}
            self._log.event("critical", "invalid message from worker", **fields, reason=str(error), action="kill")
            worker.kill_at_s = time.monotonic()
            return False
        return messages is not None

    def _read_stderr(self, worker: Worker) -> None:
        """Take what a worker writes to standard error."""
        if worker.stderr.fileno() >= 0 and not worker.stderr.read():
            self._loop.unregister(worker.stderr)
            worker.stderr.close()

    def _log_stderr(self, worker: Worker, now_s: float) -> None:
        """Log what a worker has written to standard error."""
        while text := worker.stderr.text(now_s):
            self._log.event("warning", "worker stderr", worker=worker.slot, worker_pid=worker.pid, text=text)

    def retire(self, worker: Worker, *, others_wait: bool = False) -> None:
        """Let a worker hand its connections over and end. It may take its time: what it cannot hand over, it serves."""
        worker.mark_ending()
        self.send(worker, Retire(others_wait))

    def retire_all(self) -> None:
        """Let every worker hand its connections over to those of another master, and end."""
        for worker in self.alive.values():
            self.retire(worker, others_wait=True)

    def stop_all(self, *, drain: bool) -> None:
        """Let every worker answer what it has read, with `drain` also what waits in the sockets' queues, and end."""
        for worker in self.alive.values():
            worker.mark_ending()
            self.send(worker, Stop(drain))

    def end_late_starts(self, pids: Collection[int]) -> None:
        """Kill these workers if none of them is ready yet: a reload waits for them alone. They hold no connections, and
        others are started with what the reload brings.
        """
        late = [self.alive[pid] for pid in pids if pid in self.alive]
        if any(worker.ready for worker in late):
            return
        for worker in late:
            if worker.kill_at_s is None:
                worker.kill_at_s = time.monotonic()
                self._log.event("error", "worker hangs", worker=worker.slot, worker_pid=worker.pid, action="kill")

    def kill_all(self, reason: str) -> None:
        """Kill every worker now."""
        self._log.event("warning", "killing workers", reason=reason, workers=len(self))
        for worker in self.alive.values():
            worker.kill_at_s = time.monotonic()
            kill(worker.pid, signal.SIGKILL)

    def on_exit(self, pid: int, status: int) -> bool:
        """Note an exit; `keep` starts another worker. False: it was not one of them."""
        worker = self.alive.get(pid)
        if worker is None:
            return False
        self._unregister(worker)
        del self.alive[pid]
        slot = self.scoreboard.slot(worker.slot)
        slot["connections"] = slot["pid"] = slot["serving"] = slot["load"] = 0
        self._on_worker_exit(worker)
        if not worker.wanted and status == 0:
            self._log.event("info", "worker ended", worker=worker.slot, worker_pid=pid)
        else:
            self._log_death(worker, status)
        return True

    def _unregister(self, worker: Worker) -> None:
        """Read what is left of it and close everything that led to it."""
        # They were written before. It may have children that go on writing, so there is an end to reading.
        for _ in range(MAX_LAST_READS):
            if worker.stderr.fileno() < 0 or not worker.stderr.pending:
                break
            self._read_stderr(worker)
        if worker.stderr.fileno() >= 0:
            self._loop.unregister(worker.stderr)
            worker.stderr.close()
        self._log_stderr(worker, float("inf"))
        if worker.sock.fileno() >= 0:
            # Its last message may have come after this turn's were taken. The kernel gives messages that pass a
            # descriptor one a read.
            for _ in range(MAX_LAST_READS):
                if not (worker.has_data() and self._handle_messages(worker)):
                    break
            self._loop.unregister(worker)
            worker.close()

    def _log_death(self, worker: Worker, status: int) -> None:
        now_s = time.monotonic()
        more: dict[str, object] = {}
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        # On its first job: what killed it will kill the next one, unless it came from outside.
        if not worker.ready or (not killed and now_s - worker.started_s < MIN_LIFETIME_S):
            more["next_try_s"] = self.backoff.failed_start(now_s)
        if killed and worker.kill_at_s is None:
            more["hint"] = "killed from outside, or by the kernel for want of memory: see dmesg"
        level = "warning" if worker.ready else "error"
        self._log.event(
            level, "worker died", worker=worker.slot, worker_pid=worker.pid, how=describe_exit(status), **more
        )

    def tick(self, now_s: float, *, slept: bool) -> None:
        """Do what is due. `slept`: the master was stopped or suspended, and perhaps its workers were."""
        alive = self.alive.values()
        self.deadlines.kill_the_hung(alive, now_s, slept=slept)
        for worker in self.deadlines.to_hurry(alive, now_s):
            worker.hurried = True
            self.send(worker, Hurry())
        if self.backoff.failures and any(self._outlived_start(worker, now_s) for worker in alive):
            self.backoff.served()
        for worker in alive:
            self._log_stderr(worker, now_s)

    def _outlived_start(self, worker: Worker, now_s: float) -> bool:
        """Whether a worker that was started after the last failed start has lived long enough to be no failure."""
        old_enough = now_s - worker.started_s > MIN_LIFETIME_S
        return worker.ready and worker.started_s > self.backoff.failed_at_s and old_enough


def worker_count(settings: Settings) -> int:
    """The number of the settings; `auto`: one per core that this process may use, quotas included."""
    if settings.server.workers == "auto":
        return max(1, math.ceil(usable_cores(os.getpid())))
    return int(settings.server.workers)
