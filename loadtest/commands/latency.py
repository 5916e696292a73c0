"""`python -m loadtest latency`: how long one worker takes to reply, at parts of the rate that it can do.

First a closed loop finds that rate. Then requests fall due at a steady rate whatever the replies do, and latency counts
from that moment (no coordinated omission), next to the C echo server at the same rate, in turn (clients/rounds.py). Lag
is how late the generator itself was, which no server can make good: a latency of that size says nothing of the server.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from loadtest.clients.rounds import in_turn
from loadtest.measure.heading import heading, heading_lines, others_line
from loadtest.options import at_least, positive, shares
from loadtest.servers.contenders import VARIANTS, forkpolicy_contender, least_server
from loadtest.servers.postfix import traversable_directory
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import Day

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.clients.rounds import Contender, Outcome
    from loadtest.measure.heading import Heading

# The highest rate is the median of so many rounds.
CLOSED_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One server at one rate. `part`: of the highest rate of which forkpolicy, that is `of`."""

    server: str
    part: float
    of: str
    offered: float
    answered: float
    cpu_us: float
    p50_us: int
    p99_us: int
    p999_us: int
    # Of the rounds' p99: what one disturbed round does not move.
    least_p99_us: int
    median_p99_us: int
    # The generator's.
    lag_p99_us: int
    lag_p999_us: int
    # Cores that other processes kept busy meanwhile.
    others_cores: float


def main(argv: Sequence[str]) -> int:
    """Run it, print the table."""
    options = _options(argv)
    head = heading(
        f"{options.connections} connections, {options.rounds} rounds of {options.seconds:g} s for each server at each "
        "rate, in turn"
    )
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(traversable_directory())
        day = Day(load_profile(options.profile))
        echo = least_server(stack, directory, day)
        ours = [forkpolicy_contender(stack, directory, day, decisions) for decisions in VARIANTS]
        rows = [row for each in ours for row in _rows(echo, each, options)]
    print(json.dumps({**head, "rows": [asdict(row) for row in rows]}) if options.json else table(head, rows))
    return 0


def table(head: Heading, rows: Sequence[Row]) -> str:
    """The rows as text."""
    lines = heading_lines(head)
    lines.append(
        f"{'':<30}{'':>20}{'CPU us/':>9}{'all rounds, us':>23}{'p99 of a round':>16}{'generator lag':>15}\n"
        f"{'server':<30}{'offered/s':>10}{'answered':>10}{'request':>9}{'p50':>7}{'p99':>8}{'p99.9':>8}"
        f"{'least':>8}{'median':>8}{'p99':>7}{'p99.9':>8}"
    )
    before = None
    for row in rows:
        if (row.of, row.part) != before:
            lines.append(f"at {row.part:.0%} of what {row.of} can do, {row.offered / row.part:,.0f} requests/s")
        before = row.of, row.part
        lines.append(
            f"{row.server:<30}{row.offered:>10,.0f}{row.answered:>10,.0f}{row.cpu_us:>9.2f}"
            f"{row.p50_us:>7,}{row.p99_us:>8,}{row.p999_us:>8,}{row.least_p99_us:>8,}{row.median_p99_us:>8,}"
            f"{row.lag_p99_us:>7,}{row.lag_p999_us:>8,}"
        )
    return "\n".join([*lines, "", others_line(max(row.others_cores for row in rows))])


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest latency", description=__doc__)
    parser.add_argument("--connections", type=at_least(1), default=500, help="(default %(default)s)")
    parser.add_argument(
        "--parts", type=shares, default="0.5,0.8", help="of the highest rate, with commas (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=at_least(1), default=10, help="how often each server is measured (default %(default)s)"
    )
    parser.add_argument("--seconds", type=positive, default=0.5, help="length of a round (default %(default)s)")
    parser.add_argument("--profile", default="bench", help="where the requests come from (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _rows(echo: Contender, ours: Contender, options: argparse.Namespace) -> Iterator[Row]:
    times = {"connections": options.connections, "seconds": options.seconds}
    closed = in_turn([ours], rounds=CLOSED_ROUNDS, **times)
    highest = statistics.median(closed.outcomes[0].rates)
    for part in options.parts:
        rate = highest * part
        compared = in_turn([echo, ours], rounds=options.rounds, rate=rate, **times)
        for contender, outcome in zip((echo, ours), compared.outcomes, strict=True):
            yield _row(contender.name, part, ours.name, rate, outcome, compared.others_cores)


def _row(name: str, part: float, of: str, offered: float, outcome: Outcome, others_cores: float) -> Row:
    p50, p99, p999 = map(outcome.latency.percentile, (50, 99, 99.9))
    return Row(
        name,
        part,
        of,
        offered,
        statistics.median(outcome.rates),
        statistics.median(outcome.cpu_us),
        p50,
        p99,
        p999,
        min(outcome.p99s_us),
        int(statistics.median(outcome.p99s_us)),
        outcome.lag.percentile(99),
        outcome.lag.percentile(99.9),
        others_cores,
    )
