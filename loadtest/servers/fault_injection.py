"""Injected faults: killed, stopped and hanging processes, no descriptors, a full disk, a clock that is set, a suspended
machine.

One after the other, while an operator does everything else (operator_actions.py). A killed worker may take its own
connections with it and no others: its sockets are counted before it dies, and no more than those may be lost.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.measure.processes import descendants, title
from loadtest.servers.operator_actions import LOOK_S, PATIENCE_S, OperatorActions
from loadtest.servers.pausing import is_there, pause

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from loadtest.clients.load_clients import LoadClients
    from loadtest.servers.server import Server
    from loadtest.servers.test_environment import Environment

HANG_TIMEOUT_S = 4.0
# A client whose worker was killed asks again after a second: the second try must not meet the next killing.
BETWEEN_S = 1.5
PAUSE_S = 0.3
SHORTAGE_S = 1.5
# Until the last page of the log is full, too.
FULL_S = 3.0
LOOKS = 10
VISITORS = 40
DAY_S = 86400
STEPS_S = (1, -1, 3600, -3600, DAY_S, -DAY_S, 3650 * DAY_S, -3650 * DAY_S)


NAMES = ("kill", "pause", "step_clock", "exhaust", "fill_disk", "suspend", "kill_logger", "hang")


class FaultInjection(OperatorActions):
    """`environment` has what some of them need; `held` counts the sockets that killed workers had."""

    def __init__(
        self, server: Server, clients: LoadClients, seed: int, environment: Environment, only: Collection[str] = NAMES
    ) -> None:
        """All of NAMES, or some."""
        super().__init__(server, clients, seed)
        self.environment = environment
        self.held = 0
        missing = {"step_clock": environment.clock is None, "fill_disk": not environment.small_disk}
        self.skipped = [name for name, is_missing in missing.items() if is_missing and name in only]
        chosen = [name for name in NAMES if name in only and name not in self.skipped]
        # Killing is what happens most in real life.
        others = [[name, "kill"] if "kill" in chosen else [name] for name in chosen if name != "kill"]
        self._order = [*itertools.chain.from_iterable(others)] or chosen
        self._next = itertools.cycle(self._order)

    def plan(self) -> list[tuple[float, Callable[[], None]]]:
        """Everything gentle, and one fault after the other."""
        return [*super().plan(), *([(BETWEEN_S, self.inject)] if self._order else [])]

    def inject(self) -> None:
        """Inject the next fault."""
        name = next(self._next)
        getattr(self, name)()
        self.done[name] += 1
        self.ending.wait(BETWEEN_S)

    def kill(self) -> None:
        """KILL to some worker."""
        os.kill(self._stopped(), signal.SIGKILL)

    def pause(self) -> None:
        """STOP to some worker, CONT a moment later: long waits, no losses."""
        pid = self.victim()
        self._signal(pid, signal.SIGSTOP)
        self.ending.wait(PAUSE_S)
        self._signal(pid, signal.SIGCONT)

    def hang(self) -> None:
        """STOP to some worker, for so long that its master kills it."""
        pid, until_s = self._stopped(), time.monotonic() + PATIENCE_S
        while is_there(pid):
            if time.monotonic() > until_s:
                self._signal(pid, signal.SIGKILL)
                raise TimeoutError(f"the master has not killed the hanging worker {pid} within {PATIENCE_S:g} s")
            time.sleep(LOOK_S)

    def suspend(self) -> None:
        """STOP and CONT to all, as on a suspended machine: all slept, so none has hung."""
        pids = _tree(self.master())
        for pid in pids:
            self._signal(pid, signal.SIGSTOP)
        time.sleep(HANG_TIMEOUT_S * 1.5)
        # The master first: it sees old beats only.
        for pid in pids:
            self._signal(pid, signal.SIGCONT)

    def exhaust(self) -> None:
        """No process may open another descriptor; new clients that come meanwhile must wait, and nothing worse."""
        enough, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        starved = dict.fromkeys(_tree(self.master()))
        with contextlib.ExitStack() as visitors:
            try:
                for pid in starved:
                    starve(pid)
                waiting = [visitors.enter_context(self._visitor()) for _ in range(VISITORS)]
                self.ending.wait(SHORTAGE_S)
            finally:
                # A child forked meanwhile has the limit of its parent, which an upgrade may have outlived.
                for pid in {child for each in starved for child in _tree(each)}:
                    limit_descriptors(pid, enough)
            until_s = time.monotonic() + PATIENCE_S
            for each in waiting:
                each.settimeout(max(0.1, until_s - time.monotonic()))
                if not each.recv(4096).startswith(b"action="):
                    self.failures.append("exhaust: a new connection was closed")

    def fill_disk(self) -> None:
        """The log's file system is full for a while."""
        filler = self.server.log.with_name("filler")
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 16)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        self.ending.wait(FULL_S)
        filler.unlink()

    def step_clock(self) -> None:
        """The wall clock is set, by a second or by years."""
        assert self.environment.clock
        self.environment.clock.write(self.random.choice(STEPS_S))

    def kill_logger(self) -> None:
        """KILL to the logger: its master starts another."""
        for pid in _tree(self.master()):
            if title(pid) == "log":
                self._signal(pid, signal.SIGKILL)

    def _stopped(self) -> int:
        """Some worker, stopped, and what it holds counted."""
        pid = self.victim()
        with contextlib.suppress(ProcessLookupError):
            pause(pid)
        self.held += sum(name.startswith("socket:") for name in descriptors(pid).values())
        return pid

    @contextlib.contextmanager
    def _visitor(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.settimeout(PATIENCE_S)
            visitor.connect(str(self.server.socket_path))
            visitor.sendall(self.clients.request)
            yield visitor


def _tree(pid: int) -> list[int]:
    return [pid, *descendants(pid)]


def descriptors(pid: int) -> dict[int, str]:
    """What a process has open, as /proc names it; nothing when it has gone."""
    found = {}
    with contextlib.suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found[int(each.name)] = str(each.readlink())
    return found


def starve(pid: int) -> None:
    """Let a process have no descriptor but those that it has now; it closes some and opens others meanwhile."""
    limit = -1
    for _ in range(LOOKS):
        if not is_there(pid) or limit == (limit := _lowest_free(pid)):
            return
        limit_descriptors(pid, limit)


def _lowest_free(pid: int) -> int:
    taken = descriptors(pid)
    return next(number for number in itertools.count() if number not in taken)


def limit_descriptors(pid: int, soft: int) -> None:
    """Set the limit of a process. As its own user: root may not be allowed to (CAP_SYS_RESOURCE)."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        user, group = (int(status[name].split()[0]) for name in ("Uid", "Gid"))
        words = ["/usr/bin/prlimit", f"--pid={pid}", f"--nofile={soft}:"]
        done = subprocess.run(words, user=user, group=group, capture_output=True, text=True, check=False)
        if done.returncode and is_there(pid):
            raise OSError(done.stderr)
