"""`python -m loadtest policies`: what the length and the kind of a policy cost.

Loads a policy of each shape (loadtest/traffic/policy_shapes.py) in a process of its own and times its decisions, round
after round. With --against COMMIT the same policies are loaded by the forkpolicy of that commit, and both take turns.
CPU time, a decision.
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

DECISIONS = CHECKOUT / "loadtest" / "clients" / "decisions.py"


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    options = _options(argv)
    with tempfile.TemporaryDirectory() as folder:
        builds = {"": ""}
        if options.against:
            earlier = earlier_build(options.against, Path(folder))
            builds[earlier.name] = earlier.environment["PYTHONPATH"]
        rows = [_measured(shape, builds, options) for shape in SHAPES if options.only in shape]
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


def _measured(shape: str, builds: Mapping[str, str], options: argparse.Namespace) -> dict[str, object]:
    """A row: today's figures, and with an earlier build its own and the ratios."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(_deciding(shape, options.seed, path)) for path in builds.values()]
        load_s = [float(_line(process)) for process in processes]
        rounds = [[_round_us(process) for process in processes] for _ in range(options.rounds)]
    row: dict[str, object] = {"shape": shape, "load_s": load_s[0], "decide_us": min(each[0] for each in rounds)}
    if len(processes) > 1:
        row["against"] = list(builds)[1]
        row["against_load_s"], row["against_us"] = load_s[1], min(each[1] for each in rounds)
        row["ratio"] = statistics.median(now / then for now, then in rounds)
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
    lines = [f"{'policy':<34}{'load s':>8}{'decide us':>11}"]
    if "against" in rows[0]:
        lines[0] += f"{rows[0]['against']!s:>12}{'ratio':>8}"
    for row in rows:
        line = f"{row['shape']:<34}{row['load_s']:>8.2f}{row['decide_us']:>11.2f}"
        lines.append(line + (f"{row['against_us']:>12.2f}{row['ratio']:>8.2f}" if "against" in row else ""))
    return "\n".join(lines)
