"""`python -m loadtest verify-advise`: is `forkpolicy advise` right? Its p99 next to a measured one.

A server with a costly policy (a quarter of the requests asks two thousand ACLs, which is 1 to 2 ms, the others a few),
requests that come at random over many connections, one and two workers, from quiet to busy. Latency counts from the
moment a request was due. What the model does not know, the way from the socket to the client, is measured on an idle
server and taken off.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.measure.processes import machine
from loadtest.options import positive, shares
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COSTLY_ACLS = 2000
OUTSIDE_SHARE = 0.25
CONNECTIONS = 64
REPLY_BYTES = 4096
TAIL = 0.99
POLICY = "\n".join(
    [
        *(f"acl s{n} size >{n}" for n in range(COSTLY_ACLS)),
        "acl inside client_address 192.0.2.0/24",
        "acl from_us sender example.com",
        "action no REJECT 5.7.1 no",
        f"access !inside {' '.join(f's{n}' for n in range(COSTLY_ACLS))} from_us no",
        "",
    ]
)
REQUEST = """\
request=smtpd_access_policy
protocol_state=END-OF-MESSAGE
client_address={client}
sender=a@example.org
recipient=b@example.com
size=100000

"""


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison."""

    workers: int
    busy: float
    rate: float
    predicted_us: float
    measured_us: float


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    options = _options(argv)
    with traversable_directory() as directory:
        rows = [row for workers in (1, 2) for row in _rows(directory, workers, options)]
    print(machine())
    print(f"{'workers':>8}{'busiest':>9}{'requests/s':>12}{'predicted p99':>15}{'measured p99':>14}{'ratio':>7}")
    for row in rows:
        ratio = row.measured_us / row.predicted_us
        figures = f"{row.predicted_us:>12,.0f} us{row.measured_us:>11,.0f} us{ratio:>7.2f}"
        print(f"{row.workers:>8}{row.busy:>9.0%}{row.rate:>12,.0f}{figures}")
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest verify-advise", description=__doc__)
    parser.add_argument("--seconds", type=positive, default=6.0, help="for each row (default %(default)s)")
    parser.add_argument(
        "--loads", type=shares, default="0.2,0.4,0.6,0.75", help="busy share of each worker (default %(default)s)"
    )
    return parser.parse_args(argv)


def _rows(directory: Path, workers: int, options: argparse.Namespace) -> list[Row]:
    server = Server(directory / f"server{workers}", POLICY, workers=workers, decisions="none")
    server.start()
    try:
        way_us = _quantile(_Arrivals(server.socket_path, 40.0, cheap=True).run(2.0), 0.5)
        per_worker = 1 / _mean_service_s(server)
        return [
            _compare(server, workers, load * per_worker * workers, options.seconds, way_us) for load in options.loads
        ]
    finally:
        server.stop()


def _mean_service_s(server: Server) -> float:
    """CPU time of a request in the mix, at a modest rate."""
    before = server.status()
    replies = len(_Arrivals(server.socket_path, 1000.0).run(3.0))
    time.sleep(1.0)  # the scoreboard is as old as a beat
    after = server.status()
    spent_ns: int = sum(each["counters"]["cpu_ns"] for each in after["workers"])
    spent_ns -= sum(each["counters"]["cpu_ns"] for each in before["workers"])
    return spent_ns / 1e9 / replies


def _compare(server: Server, workers: int, rate: float, seconds: float, way_us: float) -> Row:
    arrivals = _Arrivals(server.socket_path, rate)
    latencies: list[float] = []
    sending = threading.Thread(target=lambda: latencies.extend(arrivals.run(seconds)))
    advice = _start_advise(server, seconds - 1.0, rate)
    sending.start()
    advised = json.loads(advice.communicate()[0])
    sending.join()
    expected = next(row for row in advised["expected"] if row["workers"] == workers)
    predicted_us = (expected["p99_s"] or float("inf")) * 1e6
    return Row(workers, expected["busy"], rate, predicted_us, max(0.0, _quantile(latencies, TAIL) - way_us))


def _start_advise(server: Server, seconds: float, rate: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "forkpolicy", "advise", "-c", str(server.settings), "--json"]
    return subprocess.Popen([*words, "--seconds", str(seconds), "--rate", str(rate)], stdout=subprocess.PIPE, text=True)


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)] * 1e6 if values else 0.0


class _Arrivals:
    """Requests that come at random at a mean rate, each on a connection of its own choice, like smtpd processes."""

    def __init__(self, path: Path, rate: float, *, cheap: bool = False) -> None:
        self._rate = rate
        self._cheap = cheap
        self._chance = random.Random(1)
        self._poll = select.epoll()
        self._sockets = {}
        for _ in range(CONNECTIONS):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(path))
            self._sockets[sock.fileno()] = sock
            self._poll.register(sock, select.EPOLLIN)

    def run(self, seconds: float) -> list[float]:
        """The latencies in seconds, each from when its request was due."""
        idle = list(self._sockets)
        due_by: dict[int, float] = {}
        latencies = []
        now = time.monotonic()
        due, end = now, now + seconds
        while due < end or due_by:
            while due <= now and due < end and idle:
                number = idle.pop(self._chance.randrange(len(idle)))
                self._sockets[number].send(self._request())
                due_by[number] = due
                due += self._chance.expovariate(self._rate)
            wait_s = max(0.0, due - now) if due < end and idle else 1.0
            for number, _ in self._poll.poll(wait_s):
                self._sockets[number].recv(REPLY_BYTES)
                latencies.append(time.monotonic() - due_by.pop(number))
                idle.append(number)
            now = time.monotonic()
        for sock in self._sockets.values():
            sock.close()
        self._poll.close()
        return latencies

    def _request(self) -> bytes:
        outside = not self._cheap and self._chance.random() < OUTSIDE_SHARE
        return REQUEST.format(client="203.0.113.5" if outside else "192.0.2.5").encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
