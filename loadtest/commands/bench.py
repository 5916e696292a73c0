"""`python -m loadtest bench`: CPU per request of one worker, as a ratio to a bare echo server in the same run.

CPU of the server's processes (all of them: master, worker, logger) is the figure, and not the rate: it survives a busy
machine and a slow generator. The founding policy with tables of a thousand entries, requests of all its kinds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from loadtest.clients import generator
from loadtest.errors import VerdictError
from loadtest.measure.processes import cpu_us, machine
from loadtest.options import counts, positive
from loadtest.servers.echo import echo_server
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import PASSED, POLICY, Day

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from loadtest.clients.generator import Load, Requests

WARM_UP_S = 0.3


@dataclass(frozen=True, slots=True)
class Row:
    """One server at one number of connections."""

    server: str
    connections: int
    cpu_us: float
    rate: float
    p50_us: int
    p99_us: int
    # To the native echo server with as many connections, and to the Python one; 0 where there was none.
    to_native_echo: float = 0.0
    to_python_echo: float = 0.0


def main(argv: Sequence[str]) -> int:
    """Run it, print the table."""
    options = _options(argv)
    day = Day(load_profile(options.profile))
    with traversable_directory() as stage:
        rows = list(_rows(stage, day, options))
    if options.json:
        print(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        print(table(rows))
    return 0


def table(rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [machine(), f"load average {os.getloadavg()[0]:.1f}", ""]
    lines.append(
        f"{'server':<28}{'connections':>12}{'CPU us/request':>16}{'to C echo':>11}"
        f"{'to Python echo':>16}{'requests/s':>12}{'p50 us':>8}{'p99 us':>8}"
    )
    for row in rows:
        native = f"{row.to_native_echo:.2f}" if row.to_native_echo else "-"
        python = f"{row.to_python_echo:.2f}" if row.to_python_echo else "-"
        lines.append(
            f"{row.server:<28}{row.connections:>12}{row.cpu_us:>16.2f}{native:>11}"
            f"{python:>16}{row.rate:>12,.0f}{row.p50_us:>8}{row.p99_us:>8}"
        )
    return "\n".join(lines)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest bench", description=__doc__)
    parser.add_argument(
        "--connections", type=counts, default="1,32,500", help="numbers of connections (default %(default)s)"
    )
    parser.add_argument("--seconds", type=positive, default=2.0, help="for each figure (default %(default)s)")
    parser.add_argument("--profile", default="bench", help="where the requests come from (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _rows(stage: Path, day: Day, options: argparse.Namespace) -> Iterator[Row]:
    requests = day.requests()
    # What an echo server answers is always the same.
    unjudged = [(text, PASSED) for text, _ in requests]
    echoes: dict[tuple[str, int], float] = {}
    for connections in options.connections:
        for name, path, pids, verdicts in _servers(stage, day):
            judged = requests if verdicts else unjudged
            load, cpu = _measure(path, pids, judged, connections, options.seconds)
            per_request = cpu / load.replies if load.replies else 0.0
            echoes[name, connections] = per_request
            native, python = echoes.get(("C echo", connections), 0.0), echoes.get(("Python echo", connections), 0.0)
            yield Row(
                name,
                connections,
                per_request,
                load.rate,
                load.latency.percentile(50),
                load.latency.percentile(99),
                per_request / native if native else 0.0,
                per_request / python if python else 0.0,
            )


def _servers(stage: Path, day: Day) -> Iterator[tuple[str, Path, list[int], bool]]:
    """Each server in turn while it runs: name, socket, processes, and whether its verdicts mean anything."""
    for name, native in (("C echo", True), ("Python echo", False)):
        path = stage / "echo"
        with echo_server(path, native=native) as pid:
            if pid is not None:
                yield name, path, [pid], False
    for name, decisions in (("forkpolicy", "none"), ("forkpolicy, logging refusals", "acted")):
        with contextlib.closing(_Running(stage, day, decisions)) as running:
            yield name, running.server.socket_path, running.server.process_ids(), True


class _Running:
    """A forkpolicy with one worker, started; its tables are compiled once for all."""

    def __init__(self, stage: Path, day: Day, decisions: str) -> None:
        self.server = Server(stage / "server", POLICY, sources=day.sources, workers=1, decisions=decisions)
        if not (self.server.directory / "compiled").exists():
            self.server.compile()
        self.server.start()

    def close(self) -> None:
        self.server.stop()


def _measure(
    path: Path, pids: Sequence[int], requests: Requests, connections: int, seconds: float
) -> tuple[Load, float]:
    generator.run(path, requests, connections=connections, seconds=WARM_UP_S)
    before = cpu_us(pids)
    load = generator.run(path, requests, connections=connections, seconds=seconds)
    cpu = cpu_us(pids) - before
    if trouble := load.trouble(requests):
        raise VerdictError(f"{path}: {trouble}")
    return load, cpu


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
