"""`python -m loadtest tables`: how fast tables compile and look up, and what they cost in memory, on generated data.

Networks: IPv4 and IPv6, every fifth inside another one, with values. Domains: every third a `.name`. Next to the same
data in a dict, in pytricia and py-radix where they are installed, and in Postfix's own maps by `postmap -q`. Tables of
kind pair: a usual one, and shapes that are made to be slow (loadtest/tables/pairs.py says which). CPU is measured
in one process, because that is what a worker pays; results go to standard output as Markdown, and behind them
how much a look-up's cost grows from the smallest size to the largest. Compiled tables of one kind are asked in turn,
and their growth is that of the median round.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.options import at_least
from loadtest.tables.compiled import WORKERS, compile_sample, compiled_us, memory_of_workers, verified_s
from loadtest.tables.lists import generate
from loadtest.tables.others import dict_us, postmap_us, pytricia_finder, radix_finder, trie_us
from loadtest.tables.pairs import SHAPES, generate_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOK_UP, AS_MAIL_ASKS = "look-up us", "as mail asks us"
COLUMNS = [
    "kind",
    "entries",
    "compile",
    "its CPU",
    "entries/s",
    "peak memory",
    "file",
    "to verify",
    LOOK_UP,
    AS_MAIL_ASKS,
    "own memory",
    f"PSS of {WORKERS}",
]
OTHERS = ["dict us", "pytricia us", "py-radix us", "postmap -q us"]


def shown(cell: object) -> str:
    """A cell as text."""
    return f"{cell:,.2f}" if isinstance(cell, float) else str(cell)


def main(argv: Sequence[str]) -> int:
    """Run the benchmark; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtest tables", description=__doc__)
    parser.add_argument("sizes", nargs="*", type=at_least(1), default=[1_000, 100_000, 5_000_000], help="entries")
    parser.add_argument("--kinds", nargs="*", default=["cidr", "domain"], choices=["cidr", "domain", *SHAPES])
    parser.add_argument("--alone", action="store_true", help="without the other libraries and Postfix")
    arguments = parser.parse_args(argv)
    titles = COLUMNS if arguments.alone else COLUMNS + OTHERS
    print(f"| {' | '.join(titles)} |")
    print(f"|{'---|' * len(titles)}")
    grown = []
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory(prefix="forkpolicy-bench-") as name:
            rows, ratios = _measured(kind, sorted(set(arguments.sizes)), Path(name), alone=arguments.alone)
        for row in rows:
            print(f"| {' | '.join(map(shown, row))} |", flush=True)
        grown.append(growth(titles, rows[0], rows[-1], ratios))
    print("", *filter(None, grown), sep="\n")
    return 0


def growth(titles: Sequence[str], least: Sequence[object], most: Sequence[object], ratios: Mapping[str, float]) -> str:
    """How many times its cost of the smallest table a look-up takes in the largest: ours as in `ratios`, the others'
    by what is in the table.
    """
    times = [
        f"{title.removesuffix(' us')} x {ratios.get(title, large / small):.1f}"
        for title, small, large in zip(titles, least, most, strict=True)
        if title.endswith(" us") and isinstance(small, float) and isinstance(large, float)
    ]
    return f"{least[0]} from {least[1]} to {most[1]} entries: {', '.join(times)}" if least[1] != most[1] else ""


def _measured(
    kind: str, sizes: Sequence[int], directory: Path, *, alone: bool
) -> tuple[list[list[object]], dict[str, float]]:
    """A row for each size, and how many times a look-up in the smallest one takes in the largest."""
    samples, rows = [], []
    for size in sizes:
        below = directory / str(size)
        below.mkdir()
        sample = (generate_pairs if kind in SHAPES else generate)(kind, size, below)
        samples.append((sample, below))
        rows.append([kind, f"{size:,}", *compile_sample(sample, below), verified_s(below)])
    asked = compiled_us(samples)
    for row, look_ups, (sample, below) in zip(rows, asked, samples, strict=True):
        row += [min(look_ups.new_us), min(look_ups.by_mail_us), *memory_of_workers(sample, below)]
        if not alone:
            row += [
                dict_us(sample),
                trie_us(sample, "pytricia", pytricia_finder(sample)),
                trie_us(sample, "radix", radix_finder(sample)),
                postmap_us(sample, below),
            ]
    return rows, {
        LOOK_UP: _median_ratio(asked[-1].new_us, asked[0].new_us),
        AS_MAIL_ASKS: _median_ratio(asked[-1].by_mail_us, asked[0].by_mail_us),
    }


def _median_ratio(large: Sequence[float], small: Sequence[float]) -> float:
    return statistics.median(mine / its for mine, its in zip(large, small, strict=True))
