"""`python -m loadtest workers`: what several workers do and cost, and where the time of the cores goes.

In a closed loop, next to the C echo server with as many processes, in turn (clients/rounds.py). Servers and generator
share all cores, as workers and clients must. The second table has the whole time of all cores: what is lost to the log
process, to the master, to the generator, to others and to idling. The busiest worker's CPU time over the mean shows
how unevenly connections and cores are spread; `balance` has the connections alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from loadtest.clients.added import C_ECHO
from loadtest.clients.rounds import in_turn
from loadtest.measure.heading import heading, heading_lines, others_line
from loadtest.measure.processes import title
from loadtest.options import at_least, counts, positive
from loadtest.servers.contenders import VARIANTS, echo_contender, forkpolicy_contender
from loadtest.servers.postfix import traversable_directory
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import Day

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from loadtest.clients.rounds import Contender, Outcome
    from loadtest.measure.heading import Heading

# A server's name and its number of workers.
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Row:
    """One server with a number of workers; a ratio is None where there was nothing to compare with."""

    server: str
    workers: int
    rate: float
    # Rate as a multiple of that with the first number of workers, in the median round.
    to_first: float
    cpu_us: float
    cpu_us_median: float
    to_c_echo: float | None
    generator_us: float
    p99_us: int
    # CPU time of the busiest worker over the mean.
    busiest: float
    # Cores, which add up to those of the machine.
    cores: dict[str, float]


def main(argv: Sequence[str]) -> int:
    """Run it, print the tables."""
    options = _options(argv)
    head = heading(
        f"{options.connections} connections, {options.rounds} rounds of {options.seconds:g} s for each server, in turn"
    )
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(traversable_directory())
        contenders = dict(_contenders(stack, directory, Day(load_profile(options.profile)), options.workers))
        compared = in_turn(
            list(contenders.values()),
            connections=options.connections,
            rounds=options.rounds,
            seconds=options.seconds,
            apart=False,
        )
        # While they live: a worker is known by its title.
        titles = {pid: title(pid) for each in contenders.values() for pid in each.pids}
    outcomes = dict(zip(contenders, compared.outcomes, strict=True))
    rows = [_row(key, outcomes, titles, options.workers[0]) for key in outcomes]
    if options.json:
        print(json.dumps({**head, "others_cores": compared.others_cores, "rows": [asdict(row) for row in rows]}))
    else:
        print(table(head, rows), "", others_line(compared.others_cores), sep="\n")
    return 0


def table(head: Heading, rows: Sequence[Row]) -> str:
    """Both tables as text."""
    lines = heading_lines(head)
    first = f"x that of {rows[0].workers}"
    lines.append(
        f"{'':<30}{'':>8}{'':>12}{'':>13}{'CPU us/request':>17}{'ratio to':>9}{'generator':>11}\n"
        f"{'server':<30}{'workers':>8}{'requests/s':>12}{first:>13}{'least':>9}{'median':>8}{'C echo':>9}"
        f"{'us/request':>11}{'p99 us':>9}"
    )
    for row in rows:
        ratio = "-" if row.to_c_echo is None else f"{row.to_c_echo:.2f}"
        lines.append(
            f"{row.server:<30}{row.workers:>8}{row.rate:>12,.0f}{row.to_first:>13.2f}{row.cpu_us:>9.2f}"
            f"{row.cpu_us_median:>8.2f}{ratio:>9}{row.generator_us:>11.2f}{row.p99_us:>9,}"
        )
    names = list(rows[0].cores)
    lines += ["", f"{'cores used by':<30}{'workers':>8}{'busiest':>9}" + "".join(f"{name:>11}" for name in names)]
    for row in rows:
        cells = "".join(f"{row.cores[name]:>11.2f}" for name in names)
        lines.append(f"{row.server:<30}{row.workers:>8}{row.busiest:>9.2f}{cells}")
    return "\n".join(lines)


def spent(outcome: Outcome, titles: Mapping[int, str], cores: int) -> dict[str, float]:
    """Where the cores' time went, as numbers of cores that add up to `cores`."""
    used_us = {"workers": 0.0, "log": 0.0, "master": 0.0, "generator": outcome.generator_us}
    for pid, us in outcome.process_us.items():
        used_us[titles[pid] if titles[pid] in used_us else "workers"] += us
    # The kernel counts the whole machine in steps of 10 ms, and a server's processes also in the pause after a round.
    used_us["others"] = max(0.0, outcome.machine_us - sum(used_us.values()))
    found = {name: us / 1e6 / outcome.seconds for name, us in used_us.items()}
    return {**found, "idle": max(0.0, cores - sum(found.values()))}


def busiest(outcome: Outcome, titles: Mapping[int, str]) -> float:
    """The CPU time of the busiest worker over the mean of all; 1 is perfect."""
    workers = [us for pid, us in outcome.process_us.items() if titles[pid] not in ("master", "log")]
    return max(workers) * len(workers) / max(1.0, sum(workers))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest workers", description=__doc__)
    parser.add_argument("--workers", type=counts, default="1,2,4", help="numbers of workers (default %(default)s)")
    parser.add_argument("--connections", type=at_least(1), default=500, help="(default %(default)s)")
    parser.add_argument(
        "--rounds", type=at_least(1), default=8, help="how often each server is measured (default %(default)s)"
    )
    parser.add_argument("--seconds", type=positive, default=0.8, help="length of a round (default %(default)s)")
    parser.add_argument("--profile", default="bench", help="where the requests come from (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _contenders(stack: ExitStack, directory: Path, day: Day, numbers: Sequence[int]) -> Iterator[tuple[Key, Contender]]:
    """Start all servers. Without a compiler there is no echo server: the one in Python has one process."""
    for number in numbers:
        if echo := echo_contender(stack, directory, day, native=True, processes=number):
            yield (echo.name, number), echo
    for decisions in VARIANTS:
        for number in numbers:
            ours = forkpolicy_contender(stack, directory, day, decisions, workers=number)
            yield (ours.name, number), ours


def _row(key: Key, outcomes: Mapping[Key, Outcome], titles: Mapping[int, str], first: int) -> Row:
    name, number = key
    outcome, echo = outcomes[key], outcomes.get((C_ECHO, number))
    rates = zip(outcome.rates, outcomes[name, first].rates, strict=True)
    return Row(
        name,
        number,
        statistics.median(outcome.rates),
        statistics.median(mine / its for mine, its in rates),
        min(outcome.cpu_us),
        statistics.median(outcome.cpu_us),
        outcome.ratio_to(echo) if echo else None,
        outcome.generator_us / outcome.latency.total,
        outcome.latency.percentile(99),
        busiest(outcome, titles),
        spent(outcome, titles, len(os.sched_getaffinity(0))),
    )
