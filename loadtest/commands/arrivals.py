"""`python -m loadtest arrivals`: how long new connections wait for their first reply while old ones are busy.

That is what happens after a restart of Postfix, or of the server: some clients ask without a pause already when
hundreds of others connect at once and do the same. A new client's first reply, counted from its connect, must
come within twice the p99 of the old ones meanwhile, or 50 ms, whichever is more. Exit status 1 when the last one's
does not, in the middle one of the bursts: where others take the cores, any client may wait for one.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtest.clients.load_clients import REQUEST
from loadtest.clients.policy_client import connected
from loadtest.measure.histogram import Histogram
from loadtest.options import at_least
from loadtest.servers.operator_actions import POLICY
from loadtest.servers.server import Server

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

ALLOWED_RATIO, ALLOWED_US = 2, 50_000
TIMEOUT_S = 30.0
# So many replies of each old client come before a burst, and between two.
ASKED_BEFORE = 20


class Busy:
    """Clients that ask again as soon as they are answered, and bursts of new ones, in one thread."""

    def __init__(self, path: Path, count: int) -> None:
        """Connect the old ones and let each ask."""
        self._path = str(path)
        self._epoll = select.epoll()
        self._asked_s: dict[int, float] = {}
        self._socks: dict[int, socket.socket] = {}
        for _ in range(count):
            self._connect()
        self._old = set(self._socks)

    def close(self) -> None:
        """Close all."""
        for sock in self._socks.values():
            sock.close()
        self._epoll.close()

    def settle(self) -> None:
        """Ask for a while."""
        self._turns(len(self._old) * ASKED_BEFORE, Histogram(), set(), Histogram())

    def burst(self, count: int) -> tuple[Histogram, Histogram]:
        """Connect so many more at once; the latencies of the old ones until all have a reply, and their own."""
        old, new = Histogram(), Histogram()
        coming = {self._connect() for _ in range(count)}
        self._turns(len(self._old), old, coming, new)
        for fd in set(self._socks) - self._old:
            self._socks.pop(fd).close()
        return old, new

    def _connect(self) -> int:
        asked_s = time.perf_counter()
        sock = connected(self._path, TIMEOUT_S)
        sock.send(REQUEST)
        fd = sock.fileno()
        self._socks[fd], self._asked_s[fd] = sock, asked_s
        self._epoll.register(fd, select.EPOLLIN)
        return fd

    def _turns(self, least: int, old: Histogram, coming: set[int], new: Histogram) -> None:
        """Until the old ones had at least so many replies, and everyone who was coming has one."""
        until_s = time.perf_counter() + TIMEOUT_S
        while (old.total < least or coming) and time.perf_counter() < until_s:
            for fd, _ in self._epoll.poll(TIMEOUT_S):
                if not self._socks[fd].recv(4096):
                    raise ConnectionError("closed in use")
                us = int((time.perf_counter() - self._asked_s[fd]) * 1e6)
                if fd in self._old:
                    old.record(us)
                elif fd in coming:
                    new.record(us)
                    coming.discard(fd)
                self._asked_s[fd] = time.perf_counter()
                self._socks[fd].send(REQUEST)
        for _ in coming:
            new.record(int(TIMEOUT_S * 1e6))


def measure(workers: int, old: int, new: int, bursts: int) -> dict[str, Any]:
    """One server, so many bursts; `of_allowed` is that of the middle one."""
    with tempfile.TemporaryDirectory(prefix="forkpolicy-arrivals-") as name:
        Path(name).chmod(0o755)
        with Server(Path(name) / "server", POLICY.format(version=1), workers=workers, decisions="none") as server:
            busy = Busy(server.socket_path, old)
            seen = []
            for _ in range(bursts):
                busy.settle()
                seen.append(compared(*busy.burst(new)))
            busy.close()
    of_allowed = statistics.median(each["of_allowed"] for each in seen)
    return {"workers": workers, "old": old, "new": new, "bursts": seen, "of_allowed": of_allowed}


def compared(old: Histogram, new: Histogram) -> dict[str, Any]:
    """What one burst saw, in milliseconds; `of_allowed`: above 1, the last of the new ones has waited too long."""
    allowed_us = max(ALLOWED_RATIO * old.percentile(99), ALLOWED_US)
    return {
        "old_p99_ms": old.percentile(99) / 1e3,
        "new_p50_ms": new.percentile(50) / 1e3,
        "new_last_ms": new.highest() / 1e3,
        "of_allowed": round(new.highest() / allowed_us, 2),
    }


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest arrivals", description=(__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument("--workers", type=at_least(1), default=2, help="how many (default: 2)")
    parser.add_argument("--old", type=at_least(1), default=100, help="clients that are busy already (default: 100)")
    parser.add_argument("--new", type=at_least(1), default=400, help="clients that connect at once (default: 400)")
    parser.add_argument("--bursts", type=at_least(1), default=5, help="how often (default: 5)")
    arguments = parser.parse_args(argv)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    report = measure(arguments.workers, arguments.old, arguments.new, arguments.bursts)
    print(json.dumps(report, indent=2))
    return 1 if report["of_allowed"] > 1 else 0
