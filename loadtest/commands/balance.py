"""`python -m loadtest balance`: how evenly connections and skewed traffic are spread over the workers.

All connections are opened in a burst; one in eight asks without a pause, the others hardly ever. After a while for the
connections to move, the busiest worker is compared with the mean: connections at the end, requests of the last seconds.
First comes what a look at the balance costs a worker.
With --taken-over everything is opened against one worker, and the others come later.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forkpolicy.scoreboard import STAYING, Scoreboard
from forkpolicy.worker.balance import Balance
from forkpolicy.worker.run import BEAT_S
from loadtest.clients.load_clients import REQUEST
from loadtest.options import not_negative
from loadtest.servers.operator_actions import POLICY
from loadtest.servers.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence

HOT_ONE_IN = 8
# A cold connection asks so often: a hundredth of what a hot one does on a small machine, or less.
COLD_EVERY_S = 2.0
COUNTED_S = 4.0
# What a look costs is measured on so many of all.
COST_WORKERS = 8
COST_CONNECTIONS = 500
COST_BEATS = 1000


class Skewed(threading.Thread):
    """Connections of which the first eighth is hot."""

    def __init__(self, path: Path, count: int) -> None:
        """Connect."""
        super().__init__(daemon=True)
        self._sockets = [socket.socket(socket.AF_UNIX) for _ in range(count)]
        for each in self._sockets:
            each.connect(str(path))
        self._ending = threading.Event()

    def finish(self) -> None:
        """Stop asking and close."""
        self._ending.set()
        self.join(10)
        for each in self._sockets:
            each.close()

    def run(self) -> None:
        """The thread."""
        hot = {each.fileno() for each in self._sockets[: max(1, len(self._sockets) // HOT_ONE_IN)]}
        by_fd = {each.fileno(): each for each in self._sockets}
        epoll = select.epoll()
        for fd, each in by_fd.items():
            epoll.register(fd, select.EPOLLIN)
            each.send(REQUEST)
        cold: list[int] = []
        cold_at_s = time.monotonic() + COLD_EVERY_S
        while not self._ending.is_set():
            for fd, _ in epoll.poll(0.1):
                if not by_fd[fd].recv(4096):
                    raise ConnectionError("closed in use")
                if fd in hot:
                    by_fd[fd].send(REQUEST)
                else:
                    cold.append(fd)
            if time.monotonic() > cold_at_s:
                for fd in cold:
                    by_fd[fd].send(REQUEST)
                cold, cold_at_s = [], time.monotonic() + COLD_EVERY_S


def measure(workers: int, connections: int, settle_s: float, *, taken_over: bool) -> dict[str, Any]:
    """One combination."""
    with tempfile.TemporaryDirectory(prefix="forkpolicy-balance-") as name:
        Path(name).chmod(0o755)
        policy = POLICY.format(version=1)
        with Server(Path(name) / "server", policy, workers=1 if taken_over else workers, decisions="none") as server:
            clients = Skewed(server.socket_path, connections)
            clients.start()
            if taken_over:
                server.command("scale", str(workers))
            time.sleep(settle_s)
            before = {each["slot"]: each for each in server.status()["workers"]}
            time.sleep(COUNTED_S)
            after = server.status()["workers"]
            clients.finish()
    held = [each["connections"] for each in after]
    done = [each["requests"] - before[each["slot"]]["requests"] for each in after if each["slot"] in before]
    moved = sum(each["counters"]["given"] for each in after)
    return {
        "workers": workers,
        "connections": connections,
        "taken_over": taken_over,
        "connections_worst_to_mean": round(max(held) * len(held) / max(1, sum(held)), 2),
        "requests_worst_to_mean": round(max(done) * len(done) / max(1, sum(done)), 2),
        "requests_per_s": round(sum(done) / COUNTED_S),
        "moved": moved,
    }


class _Held:
    """What the balance knows of a connection."""

    closed = False

    def __init__(self) -> None:
        self.requests = 0


def cost() -> dict[str, Any]:
    """CPU time of a look at everybody's load, as each worker has one with each beat, and its share of a core."""
    scoreboard = Scoreboard()
    for number in range(COST_WORKERS):
        slot = scoreboard.slot(number)
        slot["pid"], slot["serving"], slot["connections"], slot["load"] = number + 1, STAYING, COST_CONNECTIONS, 500_000
    balance = Balance(scoreboard, scoreboard.slot(0), lambda *_: False)
    held: list[Any] = [_Held() for _ in range(COST_CONNECTIONS)]
    started = time.process_time()
    for _ in range(COST_BEATS):
        for each in held:
            each.requests += 1
        balance.beat(held)
    beat_s = (time.process_time() - started) / COST_BEATS
    return {
        "connections_of_each_worker": COST_CONNECTIONS,
        "beat_us": round(beat_s * 1e6),
        "percent_of_a_core": round(beat_s / BEAT_S * 100, 3),
    }


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest balance", description=(__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument("--settle", type=not_negative, default=8.0, help="seconds before counting (default: 8)")
    parser.add_argument("--taken-over", action="store_true", help="begin with one worker")
    arguments = parser.parse_args(argv)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(cost()))
    for workers in (2, 4, 8):
        for connections in (64, 500):
            print(
                json.dumps(measure(workers, connections, arguments.settle, taken_over=arguments.taken_over)), flush=True
            )
    return 0
