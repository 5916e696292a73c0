"""`python -m loadtest bench`: CPU per request of one worker, next to bare echo servers and to earlier builds.

CPU of the server's processes (all of them: master, worker, logger) is the figure, and not the rate: it survives a busy
machine. The founding policy with tables of a thousand entries, requests of all its kinds. All servers run at once and
are measured in turn (clients/rounds.py): the least round, and medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from loadtest.clients.rounds import Contender, in_turn
from loadtest.measure.interpreter import NOT_OPTIMISED, interpreter, optimised
from loadtest.measure.processes import machine
from loadtest.options import at_least, counts, positive
from loadtest.servers.earlier import Earlier, earlier_build
from loadtest.servers.echo import echo_server
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import PASSED, POLICY, Day

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from loadtest.clients.rounds import Outcome

C_ECHO, PYTHON_ECHO = "C echo", "Python echo"
# What is logged of the decisions, and how the table calls a server with that setting.
VARIANTS = {"none": "forkpolicy", "acted": "forkpolicy, logging refusals"}


@dataclass(frozen=True, slots=True)
class Row:
    """One server at one number of connections; a ratio is None where there was nothing to compare with."""

    server: str
    connections: int
    cpu_us: float
    cpu_us_median: float
    to_c_echo: float | None
    to_python_echo: float | None
    to_earlier: float | None
    rate: float
    p50_us: int
    p99_us: int
    # Cores that other processes kept busy meanwhile.
    others_cores: float


def main(argv: Sequence[str]) -> int:
    """Run it, print the table."""
    options = _options(argv)
    heading = _heading(options)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(traversable_directory())
        earlier = earlier_build(options.against, directory / "earlier") if options.against else None
        contenders = list(_contenders(stack, directory, Day(load_profile(options.profile)), earlier))
        rows = list(_rows(contenders, earlier, options))
    if options.json:
        print(json.dumps({**heading, "earlier": earlier and earlier.name, "rows": [asdict(row) for row in rows]}))
    else:
        print(table(heading, rows))
    return 0


def table(heading: dict[str, str | float | bool], rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = [f"{heading['machine']}; load average before: {heading['load_average']}", str(heading["python"])]
    if not heading["optimised"]:
        lines.append(NOT_OPTIMISED)
    lines += [str(heading["rounds"]), ""]
    lines.append(
        f"{'':<40}{'':>6}{'CPU us/request':>17}{'median ratio to':>27}\n"
        f"{'server':<40}{'conns':>6}{'least':>9}{'median':>8}"
        f"{'C echo':>9}{'Py echo':>9}{'earlier':>9}{'requests/s':>12}{'p50 us':>8}{'p99 us':>8}"
    )
    for row in rows:
        ratios = "".join(
            f"{'-' if ratio is None else format(ratio, '.2f'):>9}"
            for ratio in (row.to_c_echo, row.to_python_echo, row.to_earlier)
        )
        lines.append(
            f"{row.server:<40}{row.connections:>6}{row.cpu_us:>9.2f}{row.cpu_us_median:>8.2f}"
            f"{ratios}{row.rate:>12,.0f}{row.p50_us:>8,}{row.p99_us:>8,}"
        )
    lines += ["", f"Other processes kept up to {max(row.others_cores for row in rows):.1f} cores busy."]
    return "\n".join(lines)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest bench", description=__doc__)
    parser.add_argument(
        "--connections", type=counts, default="1,32,500", help="numbers of connections (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=at_least(1), default=10, help="how often each server is measured (default %(default)s)"
    )
    parser.add_argument("--seconds", type=positive, default=0.3, help="length of a round (default %(default)s)")
    parser.add_argument("--against", metavar="COMMIT", help="measure the forkpolicy of that commit in the same rounds")
    parser.add_argument("--profile", default="bench", help="where the requests come from (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _heading(options: argparse.Namespace) -> dict[str, str | float | bool]:
    return {
        "machine": machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": interpreter(),
        "optimised": optimised(),
        "rounds": f"{options.rounds} rounds of {options.seconds:g} s for each server, in turn",
    }


def _contenders(stack: ExitStack, directory: Path, day: Day, earlier: Earlier | None) -> Iterator[Contender]:
    """Start all servers."""
    requests = day.requests()
    # An echo server's reply is always the same.
    unjudged = [(text, PASSED) for text, _ in requests]
    for name, native in ((C_ECHO, True), (PYTHON_ECHO, False)):
        path = directory / name.replace(" ", "-")
        pid = stack.enter_context(echo_server(path, native=native))
        if pid is not None:
            yield Contender(name, path, [pid], unjudged)
    for decisions, name in VARIANTS.items():
        for build in (None, earlier) if earlier else (None,):
            server = Server(
                directory / f"{decisions}-{build.name if build else 'now'}",
                POLICY,
                sources=day.sources,
                decisions=decisions,
                environment=build.environment if build else None,
            )
            stack.enter_context(server)
            yield Contender(_name(name, build), server.socket_path, server.process_ids(), requests)


def _name(variant: str, build: Earlier | None) -> str:
    return f"{variant}, at {build.name}" if build else variant


def _rows(contenders: Sequence[Contender], earlier: Earlier | None, options: argparse.Namespace) -> Iterator[Row]:
    names = [contender.name for contender in contenders]
    for connections in options.connections:
        compared = in_turn(contenders, connections=connections, rounds=options.rounds, seconds=options.seconds)
        by_name = dict(zip(names, compared.outcomes, strict=True))
        for name in names:
            yield _row(name, connections, by_name, compared.others_cores, earlier)


def _row(
    name: str, connections: int, outcomes: dict[str, Outcome], others_cores: float, earlier: Earlier | None
) -> Row:
    outcome = outcomes[name]

    def ratio_to(other: str) -> float | None:
        return outcome.ratio_to(outcomes[other]) if other in outcomes else None

    return Row(
        name,
        connections,
        min(outcome.cpu_us),
        statistics.median(outcome.cpu_us),
        ratio_to(C_ECHO),
        ratio_to(PYTHON_ECHO),
        ratio_to(_name(name, earlier)) if earlier else None,
        statistics.median(outcome.rates),
        outcome.latency.percentile(50),
        outcome.latency.percentile(99),
        others_cores,
    )
