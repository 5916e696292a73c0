"""`python -m loadtest compare`: other policy servers of Debian and forkpolicy, same machine, same run, same requests.

CPU per request of all processes of a server, and p99, at 1, 16 and 64 connections. What each of them does differs
(servers/peers/) and is in the table. Every reply is compared with the one that is right for that job; a wrong or a lost
reply is exit status 1. As root, because peers give up privileges; those not installed are skipped by name.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from loadtest.clients import generator
from loadtest.errors import SetupError
from loadtest.measure.processes import cpu_us, descendants, machine
from loadtest.options import at_least, counts, positive
from loadtest.servers.echo import echo_server
from loadtest.servers.peers import PEERS
from loadtest.servers.peers.peer import FOUNDING_RULE
from loadtest.servers.peers.running import running
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.traffic.mail import policy_request
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import PASSED, POLICY, Day

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from loadtest.clients.generator import Requests
    from loadtest.servers.peers.peer import Peer

# Several rounds: a connection may be the first one that a process of the peer has.
WARM_UP_S, WARM_UP_ROUNDS = 0.3, 3
# Where one round of all connections needs more CPU than this, measuring says no more than one connection did: a peer
# with long lists needs seconds for each request.
LONGEST_ROUND_S = 20.0


@dataclass(frozen=True, slots=True)
class Row:
    """One server at one number of connections."""

    server: str
    job: str
    connections: int
    cpu_us: float
    rate: float
    p99_us: int
    wrong: int
    lost: int


def main(argv: Sequence[str]) -> int:
    """Run it, print the table."""
    options = _options(argv)
    if os.geteuid() != 0:
        raise SetupError("only root can start the other servers as they are meant to run")
    changes = {"extra_domains": options.entries, "extra_networks": options.entries}
    day = Day(load_profile("bench", **changes))
    with traversable_directory() as directory:
        rows = list(_rows(directory, day, options))
    if options.json:
        print(json.dumps({"machine": machine(), "entries": options.entries, "rows": [asdict(row) for row in rows]}))
    else:
        print(table(rows, options.entries))
    return 1 if any(row.wrong or row.lost for row in rows) else 0


def table(rows: Sequence[Row], entries: int) -> str:
    """The rows as text."""
    now = time.strftime("%Y-%m-%d %H:%M")
    lines = [f"{now}, {machine()}", f"{entries:,} domains and {entries:,} networks more than the founding site has", ""]
    lines.append(f"{'server':<20}{'job':<34}{'conns':>6}{'CPU us/request':>16}{'requests/s':>12}{'p99 us':>12}")
    lines[-1] += f"{'wrong':>7}{'lost':>6}"
    for row in rows:
        lines.append(f"{row.server:<20}{row.job:<34}{row.connections:>6}{row.cpu_us:>16,.1f}{row.rate:>12,.0f}")
        lines[-1] += f"{row.p99_us:>12,}{row.wrong:>7}{row.lost:>6}"
    return "\n".join(lines)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest compare", description=__doc__)
    parser.add_argument(
        "--connections", type=counts, default="1,16,64", help="numbers of connections (default %(default)s)"
    )
    parser.add_argument("--seconds", type=positive, default=2.0, help="for each figure (default %(default)s)")
    parser.add_argument(
        "--entries", type=at_least(0), default=1000, help="more domains, and networks (default %(default)s)"
    )
    parser.add_argument("--only", nargs="+", choices=[peer.name for peer in PEERS], help="not all of the others")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _rows(directory: Path, day: Day, options: argparse.Namespace) -> Iterator[Row]:
    requests = day.requests()
    with echo_server(directory / "echo", native=True) as pid:
        # What an echo server answers is always the same.
        unjudged = [(text, PASSED) for text, _ in requests]
        for count in options.connections if pid else []:
            yield _row("C echo", "none: the limit", directory / "echo", [pid], unjudged, count, options.seconds)
    with Server(directory / "server", POLICY, sources=day.sources, workers=1, decisions="none") as server:
        for count in options.connections:
            path, pids = server.socket_path, server.process_ids()
            yield _row("forkpolicy", FOUNDING_RULE, path, pids, requests, count, options.seconds)
    for peer in PEERS:
        if options.only and peer.name not in options.only:
            continue
        if not peer.installed():
            print(f"{peer.name} is not installed, and skipped: apt-get install {peer.package}", file=sys.stderr)
            continue
        yield from _rows_of(peer, directory, day, options)


def _rows_of(peer: Peer, directory: Path, day: Day, options: argparse.Namespace) -> Iterator[Row]:
    requests = list(_judged(day, peer))
    request_s = 0.0
    for count in options.connections:
        if request_s * count > LONGEST_ROUND_S:
            print(f"{peer.name} not asked on {count} connections: a request takes {request_s:.1f} s", file=sys.stderr)
            continue
        with running(peer, directory / f"{peer.name}-{count}", day, count) as (path, pids):
            row = _row(peer.name, peer.job, path, pids, requests, count, options.seconds)
        request_s = row.cpu_us / 1e6
        yield row


def _judged(day: Day, peer: Peer) -> Iterator[tuple[bytes, bytes]]:
    right = peer.right(day)
    for timed in day.mails():
        for recipient in timed.mail.recipients:
            yield policy_request(timed.mail, recipient, timed.number), right(timed.mail, recipient)


def _row(
    name: str,
    job: str,
    path: Path,
    pids: Sequence[int | None],
    requests: Requests,
    connections: int,
    seconds: float,
) -> Row:
    first = next(pid for pid in pids if pid)
    for _ in range(WARM_UP_ROUNDS):
        generator.run(path, requests, connections=connections, seconds=WARM_UP_S)
    # A pre-forking peer starts children as connections come.
    everybody = [first, *descendants(first)]
    before = cpu_us(everybody)
    load = generator.run(path, requests, connections=connections, seconds=seconds)
    used = cpu_us(everybody) - before
    if trouble := load.trouble(requests):
        print(f"{name}, {connections} connections: {trouble}", file=sys.stderr)
    return Row(
        name,
        job,
        connections,
        used / max(1, load.replies),
        load.rate,
        load.latency.percentile(99),
        load.wrong,
        load.lost,
    )
