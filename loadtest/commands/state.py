"""`python -m loadtest state`: what it costs to remember, next to LMDB alone in the same run.

One question of each kind in CPU of one process, with a bare get and put of as many bytes under the same keys right
before it, round by round. Then several processes on one key: how long one question takes, and whether exactly the limit
passes. Then the room that many records take. The map is on a tmpfs, as that of a server. Results go to standard output
as Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.measure.processes import machine
from loadtest.options import at_least, counts
from loadtest.state.contention import contention
from loadtest.state.cost import costs
from loadtest.state.room import room

if TYPE_CHECKING:
    from collections.abc import Sequence

MIB = 1 << 20


def main(argv: Sequence[str]) -> int:
    """Run the benchmark; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtest state", description=__doc__)
    parser.add_argument("--rounds", type=at_least(1), default=5)
    parser.add_argument("--questions", type=at_least(100), default=20_000, help="of each kind, in each round")
    parser.add_argument("--writers", type=counts, default=[1, 4], metavar="N,N", help="processes on one key")
    parser.add_argument("--entries", type=at_least(100), default=1_000_000, help="triplets, and as many counters")
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"), help="on a tmpfs")  # noqa: S108
    arguments = parser.parse_args(argv)
    print(machine(), end="\n\n")
    with tempfile.TemporaryDirectory(prefix="forkpolicy-state-", dir=arguments.directory) as name:
        _print_costs(arguments.questions, arguments.rounds, Path(name))
        _print_contention(arguments.writers, arguments.questions, Path(name))
        _print_room(arguments.entries, Path(name))
    return 0


def _print_costs(questions: int, rounds: int, directory: Path) -> None:
    print("| question | least us | median us | bare least | bare median | times |\n|---|---|---|---|---|---|")
    for cost in costs(questions, rounds, directory):
        cells = (cost.least_us, cost.median_us, cost.bare_least_us, cost.bare_median_us, cost.times)
        print(f"| {cost.name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |", flush=True)


def _print_contention(writers: Sequence[int], each: int, directory: Path) -> None:
    print("\n| writers on one key | questions/s | CPU us | p50 us | p99 | p99.9 | longest | passed |")
    print("|---|---|---|---|---|---|---|---|")
    for number in writers:
        seen = contention(number, each, number * each // 3, directory)
        latencies = [seen.latency.percentile(percent) for percent in (50, 99, 99.9, 100)]
        cells = [f"{seen.per_s:,.0f}", f"{seen.cpu_us:.1f}", *map(str, latencies), f"{seen.passed:,}, as allowed"]
        print(f"| {number} | {' | '.join(cells)} |", flush=True)


def _print_room(entries: int, directory: Path) -> None:
    print("\n| records | number | MiB | bytes each |\n|---|---|---|---|")
    rooms = room(entries, directory)
    for kind in rooms:
        print(
            f"| {kind.kind} | {kind.entries:,} | {kind.used_bytes / MIB:.0f} | {kind.used_bytes / kind.entries:.0f} |"
        )
    print(f"| all | {sum(kind.entries for kind in rooms):,} | {sum(kind.used_bytes for kind in rooms) / MIB:.0f} | |")
