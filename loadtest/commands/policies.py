"""`python -m loadtest policies`: what the length and the kind of a policy cost.

Loads a policy of each shape (loadtest/traffic/policy_shapes.py) in a process of its own and times its decisions, round
after round; those of one kind and other numbers of rules take turns. With --against COMMIT the same policies are loaded
by the forkpolicy of that commit, and take turns with them. CPU time, a decision; growth is how many times the time of
the fewest rules of that kind it is, in the median round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from loadtest.measure.processes import machine
from loadtest.options import at_least
from loadtest.servers.earlier import CHECKOUT, earlier_build
from loadtest.traffic.policy_shapes import SHAPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# A shape and a build, of which today's has no name.
Key = tuple[str, str]
NOW = ""
DECISIONS = CHECKOUT / "loadtest" / "clients" / "decisions.py"


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    options = _options(argv)
    with tempfile.TemporaryDirectory() as folder:
        builds = {NOW: ""}
        if options.against:
            earlier = earlier_build(options.against, Path(folder))
            builds[earlier.name] = earlier.environment["PYTHONPATH"]
        rows = [row for shapes in kinds(options.only) for row in _measured(shapes, builds, options)]
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print(machine(), f"load average {os.getloadavg()[0]:.1f}", "", _table(rows), sep="\n")
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest policies", description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="shapes whose name has this text")
    parser.add_argument("--rounds", type=at_least(1), default=15, help="of each shape (default %(default)s)")
    parser.add_argument("--against", metavar="COMMIT", help="measure the forkpolicy of that commit in the same rounds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def kinds(only: str) -> list[list[str]]:
    """The shapes with that text, those of one kind together: a shape is a number of rules and a kind, or one alone."""
    found: dict[str, list[str]] = {}
    for shape in SHAPES:
        if only in shape:
            number, _, kind = shape.partition(" ")
            found.setdefault(kind if number.isdecimal() else shape, []).append(shape)
    return list(found.values())


def _measured(
    shapes: Sequence[str], builds: Mapping[str, str], options: argparse.Namespace
) -> Iterator[dict[str, object]]:
    """A row for each shape of one kind, the fewest rules first."""
    with contextlib.ExitStack() as stack:
        processes = {
            (shape, build): stack.enter_context(_deciding(shape, options.seed, path))
            for shape in shapes
            for build, path in builds.items()
        }
        load_s = {key: float(_line(process)) for key, process in processes.items()}
        rounds = [{key: _round_us(process) for key, process in processes.items()} for _ in range(options.rounds)]
    for shape in shapes:
        yield _row(shape, shapes[0], load_s, rounds)


def _row(
    shape: str, fewest: str, load_s: Mapping[Key, float], rounds: Sequence[Mapping[Key, float]]
) -> dict[str, object]:
    """Today's figures, and with an earlier build its own and the ratios."""

    def ratio(mine: Key, its: Key) -> float:
        return statistics.median(each[mine] / each[its] for each in rounds)

    now = shape, NOW
    row: dict[str, object] = {"shape": shape, "load_s": load_s[now], "decide_us": min(each[now] for each in rounds)}
    row["growth"] = ratio(now, (fewest, NOW)) if shape != fewest else None
    for then in load_s:
        if then[0] == shape and then != now:
            row |= {"against": then[1], "against_load_s": load_s[then], "ratio": ratio(now, then)}
            row["against_us"] = min(each[then] for each in rounds)
    return row


@contextlib.contextmanager
def _deciding(shape: str, seed: int, path: str) -> Iterator[subprocess.Popen[str]]:
    """A process that decides with the forkpolicy below `path`, today's where that is empty."""
    environment = os.environ | {"PYTHONPATH": f"{path}:{CHECKOUT}".lstrip(":"), "PYTHONSAFEPATH": "1"}
    words = [sys.executable, str(DECISIONS), shape, str(seed)]
    process = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    return cast("IO[str]", process.stdout).readline()


def _round_us(process: subprocess.Popen[str]) -> float:
    stdin = cast("IO[str]", process.stdin)
    stdin.write("\n")
    stdin.flush()
    return float(_line(process))


def _table(rows: Sequence[Mapping[str, object]]) -> str:
    lines = [f"{'policy':<34}{'load s':>8}{'decide us':>11}{'growth':>8}"]
    if "against" in rows[0]:
        lines[0] += f"{rows[0]['against']!s:>12}{'ratio':>8}"
    for row in rows:
        growth = "-" if row["growth"] is None else f"{row['growth']:.2f}"
        line = f"{row['shape']:<34}{row['load_s']:>8.2f}{row['decide_us']:>11.2f}{growth:>8}"
        lines.append(line + (f"{row['against_us']:>12.2f}{row['ratio']:>8.2f}" if "against" in row else ""))
    return "\n".join(lines)
