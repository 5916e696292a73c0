"""`python -m loadtest start`: how long it takes from `forkpolicy serve` to the first reply, next to `python -c pass`.

The founding policy with tables of a thousand entries, compiled before. Each round starts all of them in turn: the
median and the least. Modules are byte-compiled as in an installed package, whatever PYTHONDONTWRITEBYTECODE says: one
more start before the first round does that, and without it nearly half of a start would be the compiler's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from loadtest.clients.policy_client import PolicyClient
from loadtest.measure.heading import heading, heading_lines
from loadtest.options import at_least
from loadtest.servers.contenders import named
from loadtest.servers.earlier import earlier_build
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import POLICY, Day

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


PYTHON = "python -c pass"
FORKPOLICY = "forkpolicy serve"


def main(argv: Sequence[str]) -> int:
    """Run it, print the table."""
    options = _options(argv)
    head = heading(f"{options.rounds} starts of each, in turn")
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(traversable_directory())
        earlier = earlier_build(options.against, directory / "earlier") if options.against else None
        day = Day(load_profile("bench"))
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(directory / "bytecode")}
        starts: dict[str, Callable[[], float]] = {PYTHON: lambda: _python_s(compiled)}
        for build in (None, earlier) if earlier else (None,):
            environment = {**compiled, **(build.environment if build else {})}
            server = _server(directory / (build.name if build else "now"), day, environment, options.workers)
            starts[named(FORKPOLICY, build)] = _Starts(server, day.requests()[0][0])
        for start in starts.values():
            start()
        times_s: dict[str, list[float]] = {name: [] for name in starts}
        for _ in range(options.rounds):
            for name, start in starts.items():
                times_s[name].append(start())
    rows = [{"what": name, "median_s": statistics.median(each), "least_s": min(each)} for name, each in times_s.items()]
    if options.json:
        print(json.dumps({**head, "rows": rows}))
    else:
        print(*heading_lines(head), f"{'from start to first reply':<34} {'median s':>9} {'least s':>9}", sep="\n")
        for row in rows:
            print(f"{row['what']:<34} {row['median_s']:>9.3f} {row['least_s']:>9.3f}")
    return 0


def _python_s(environment: dict[str, str]) -> float:
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True, env={**os.environ, **environment})
    return time.perf_counter() - began_s


def _server(directory: Path, day: Day, environment: dict[str, str], workers: int) -> Server:
    server = Server(directory, POLICY, sources=day.sources, workers=workers, environment=environment, map_size="")
    server.compile()
    return server


class _Starts:
    """Starts a server, asks it once, and stops it."""

    def __init__(self, server: Server, request: bytes) -> None:
        self._server, self._request = server, request

    def __call__(self) -> float:
        """Seconds from the start of the program to the whole reply."""
        began_s = time.perf_counter()
        try:
            self._server.start()
            with PolicyClient(self._server.socket_path) as client:
                client.ask(self._request)
            return time.perf_counter() - began_s
        finally:
            self._server.stop()


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest start", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=at_least(1), default=11, help="how often each is started (default %(default)s)"
    )
    parser.add_argument("--workers", type=at_least(1), default=2, help="workers of the server (default %(default)s)")
    parser.add_argument("--against", metavar="COMMIT", default="", help="also the forkpolicy of that commit")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)
