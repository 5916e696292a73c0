"""`python -m loadtest compare`: other policy servers of Debian and forkpolicy, same machine, same run, same requests.

CPU per request of all processes of a server, and p99, at 1, 16 and 64 connections. What each of them does differs
(peers.py) and stands in the table. As root, because peers give up privileges; those not installed are skipped by name.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from loadtest import generator
from loadtest.echo import echo_server
from loadtest.errors import SetupError
from loadtest.peers import PEERS, running
from loadtest.postfix import traversable_directory
from loadtest.processes import cpu_us, descendants, machine
from loadtest.profile import load_profile
from loadtest.server import Server
from loadtest.stream import POLICY, Day

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WARM_UP_S = 0.3


@dataclass(frozen=True, slots=True)
class Row:
    """One server at one number of connections."""

    server: str
    job: str
    connections: int
    cpu_us: float
    rate: float
    p99_us: int
    lost: int


def main(argv: Sequence[str]) -> int:
    """Run it, print the table."""
    options = _options(argv)
    if os.geteuid() != 0:
        raise SetupError("only root can start the other servers as they are meant to run")
    changes = {"extra_domains": options.entries, "extra_networks": options.entries}
    day = Day(load_profile("bench", **changes))
    with traversable_directory() as stage:
        rows = list(_rows(stage, day, options))
    if options.json:
        print(json.dumps({"machine": machine(), "entries": options.entries, "rows": [asdict(row) for row in rows]}))
    else:
        print(table(rows, options.entries))
    return 0


def table(rows: Sequence[Row], entries: int) -> str:
    """The rows as text."""
    lines = [machine(), f"{entries:,} more domains and networks than the founding site's", ""]
    lines.append(f"{'server':<20}{'job':<34}{'conns':>6}{'CPU us/req':>12}{'requests/s':>12}{'p99 us':>11}{'lost':>6}")
    lines += [
        f"{row.server:<20}{row.job:<34}{row.connections:>6}{row.cpu_us:>12,.1f}{row.rate:>12,.0f}"
        f"{row.p99_us:>11,}{row.lost:>6}"
        for row in rows
    ]
    return "\n".join(lines)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest compare", description=__doc__)
    parser.add_argument("--connections", default="1,16,64", help="numbers of connections (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure (default %(default)s)")
    parser.add_argument("--entries", type=int, default=0, help="more domains and networks; leaves out who takes none")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _rows(stage: Path, day: Day, options: argparse.Namespace) -> Iterator[Row]:
    # Peers answer in words of their own: only that they answer is looked at.
    requests = [(text, False) for text, _ in day.requests()]
    counts = [int(count) for count in options.connections.split(",")]
    with echo_server(stage / "echo", native=True) as pid:
        for count in counts if pid else []:
            yield _row("C echo", "none: the limit", stage / "echo", [pid], requests, count, options.seconds)
    with Server(stage / "server", POLICY, sources=day.sources, workers=1, decisions="none") as server:
        for count in counts:
            path, pids = server.socket_path, server.process_ids()
            yield _row("forkpolicy", "the founding rule", path, pids, requests, count, options.seconds)
    for peer in PEERS:
        if not peer.installed():
            print(
                f"{peer.name} is not installed, and skipped: apt-get install {peer.name.rstrip('12')}", file=sys.stderr
            )
            continue
        if options.entries and not peer.takes_lists:
            continue
        for count in counts:
            with running(peer, stage / f"{peer.name}-{count}", day, count) as (path, pids):
                yield _row(peer.name, peer.job, path, pids, requests, count, options.seconds)


def _row(
    name: str,
    job: str,
    path: Path,
    pids: Sequence[int | None],
    requests: list[tuple[bytes, bool]],
    connections: int,
    seconds: float,
) -> Row:
    first = next(pid for pid in pids if pid)
    generator.run(path, requests, connections=connections, seconds=WARM_UP_S)
    # A pre-forking peer starts children as connections come.
    everybody = [first, *descendants(first)]
    before = cpu_us(everybody)
    load = generator.run(path, requests, connections=connections, seconds=seconds)
    used = cpu_us(everybody) - before
    return Row(
        name,
        job,
        connections,
        used / max(1, load.replies),
        load.rate,
        load.latency.percentile(99),
        load.lost,
    )
