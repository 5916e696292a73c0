"""`python -m loadtest bench`: CPU per request of one worker, next to bare echo servers and to earlier builds.

CPU of the server's processes (all of them: master, worker, logger) is the figure, and not the rate: it survives a busy
machine. The founding policy with tables of a thousand entries, requests of all its kinds. All servers run at once and
are measured in turn (clients/rounds.py): the least round, and medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from loadtest.clients.added import C_ECHO
from loadtest.clients.rounds import in_turn
from loadtest.measure.heading import heading, heading_lines, others_line
from loadtest.options import at_least, counts, positive
from loadtest.servers.contenders import (
    PYTHON_ECHO,
    VARIANTS,
    echo_contender,
    forkpolicy_contender,
    named,
)
from loadtest.servers.earlier import earlier_build
from loadtest.servers.postfix import traversable_directory
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import Day

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from loadtest.clients.rounds import Contender, Outcome
    from loadtest.measure.heading import Heading
    from loadtest.servers.earlier import Earlier


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
    # Of a server that logs refusals: to the same build that logs no decision.
    to_unlogged: float | None
    rate: float
    p50_us: int
    p99_us: int
    # Cores that other processes kept busy meanwhile.
    others_cores: float


def main(argv: Sequence[str]) -> int:
    """Run it, print the table."""
    options = _options(argv)
    head = heading(f"{options.rounds} rounds of {options.seconds:g} s for each server, in turn")
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(traversable_directory())
        earlier = earlier_build(options.against, directory / "earlier") if options.against else None
        contenders = list(_contenders(stack, directory, Day(load_profile(options.profile)), earlier))
        rows = list(_rows(contenders, earlier, options))
    if options.json:
        print(json.dumps({**head, "earlier": earlier and earlier.name, "rows": [asdict(row) for row in rows]}))
    else:
        print(table(head, rows))
    return 0


def table(head: Heading, rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = heading_lines(head)
    lines.append(
        f"{'':<40}{'':>6}{'CPU us/request':>17}{'median ratio to':>27}\n"
        f"{'server':<40}{'conns':>6}{'least':>9}{'median':>8}"
        f"{'C echo':>9}{'Py echo':>9}{'earlier':>9}{'unlogged':>9}{'requests/s':>12}{'p50 us':>8}{'p99 us':>8}"
    )
    for row in rows:
        ratios = "".join(
            f"{'-' if ratio is None else format(ratio, '.2f'):>9}"
            for ratio in (row.to_c_echo, row.to_python_echo, row.to_earlier, row.to_unlogged)
        )
        lines.append(
            f"{row.server:<40}{row.connections:>6}{row.cpu_us:>9.2f}{row.cpu_us_median:>8.2f}"
            f"{ratios}{row.rate:>12,.0f}{row.p50_us:>8,}{row.p99_us:>8,}"
        )
    return "\n".join([*lines, "", others_line(max(row.others_cores for row in rows))])


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


def _contenders(stack: ExitStack, directory: Path, day: Day, earlier: Earlier | None) -> Iterator[Contender]:
    """Start all servers."""
    for native in (True, False):
        if echo := echo_contender(stack, directory, day, native=native):
            yield echo
    for decisions in VARIANTS:
        for build in (None, earlier) if earlier else (None,):
            yield forkpolicy_contender(stack, directory, day, decisions, build=build)


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
        ratio_to(named(name, earlier)) if earlier else None,
        ratio_to(name.replace(VARIANTS["acted"], VARIANTS["none"])) if VARIANTS["acted"] in name else None,
        statistics.median(outcome.rates),
        outcome.latency.percentile(50),
        outcome.latency.percentile(99),
        others_cores,
    )
