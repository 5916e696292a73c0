"""`python -m loadtest history`: what a history of past decisions costs.

fill: a server logs decisions; any number is made of its lines, of as many days as it takes at five million a day, and
taken in. CPU and bytes a decision, searches of each kind while it grows, warm and cold, and what an exception for one
sender and one recipient would have changed.
keep-up: whether the ingester keeps up with ten times the average rate of five million a day. server: what a decision
that is logged for the history costs the server, next to the JSON log of all decisions, in turn.

With --keep DIR the history stays there, and --again DIR searches in such a one without filling it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.errors import SetupError
from loadtest.history.exceptions import exceptions_cost, settings_for
from loadtest.history.filling import Filler
from loadtest.history.keeping_up import keeping_up
from loadtest.history.searching import searched
from loadtest.history.server import logged_costs, written_lines
from loadtest.measure.heading import heading, heading_lines
from loadtest.options import at_least, counts, positive, some_of
from loadtest.servers.postfix import traversable_directory
from loadtest.traffic.past_decisions import PastDecisions, Values
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import Day

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

A_DAY = 5_000_000
RATE = round(10 * A_DAY / 86_400)
PARTS = ("fill", "keep-up", "server")
# Sizes at which searches are measured, in parts of the whole.
_STEPS = (0.05, 0.1, 0.25, 0.5, 1.0)
_SAMPLE = "sample.json"
Row = dict[str, float | str]


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    options = _options(argv)
    head = heading(f"{options.questions} questions of each kind; the server: {options.rounds} rounds in turn")
    found: dict[str, list[Row]] = {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(traversable_directory())
        day = Day(load_profile("bench"))
        past = PastDecisions(written_lines(folder / "server", day))
        if options.again:
            kept = Path(options.again)
            found["again"] = list(_searched(kept, _sample(kept), options.questions))
            found["what if"] = [_what_if(folder, kept, options.questions)]
        elif "fill" in options.parts:
            kept = Path(options.keep) if options.keep else folder
            found["fill"] = list(_filled(kept, past, options))
            found["what if"] = [_what_if(folder, kept, options.questions)]
        if "keep-up" in options.parts:
            found["keep-up"] = [keeping_up(folder, past, RATE, options.keep_up_seconds)._asdict()]
        if "server" in options.parts:
            costs = logged_costs(stack, folder, day, options.connections, options.rounds, options.seconds)
            found["server"] = costs
    print(json.dumps({**head, **found}) if options.json else "\n".join([*heading_lines(head), *_lines(found)]))
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest history", description=__doc__)
    parser.add_argument("--parts", type=some_of(PARTS), default=",".join(PARTS), help="default %(default)s")
    parser.add_argument("--decisions", type=at_least(1000), default=1_000_000, help="default %(default)s")
    parser.add_argument("--questions", type=at_least(1), default=50, help="of a kind (default %(default)s)")
    parser.add_argument("--keep", metavar="DIR", help="leave the history there: an empty directory")
    parser.add_argument("--again", metavar="DIR", help="search in what --keep has left")
    parser.add_argument("--keep-up-seconds", type=positive, default=20.0, help="default %(default)s")
    parser.add_argument("--connections", type=counts, default="1,32", help="for the server (default %(default)s)")
    parser.add_argument("--rounds", type=at_least(1), default=10, help="of the server (default %(default)s)")
    parser.add_argument("--seconds", type=positive, default=0.3, help="length of a round (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _filled(folder: Path, past: PastDecisions, options: argparse.Namespace) -> Iterator[Row]:
    """A row for each size and kind of question."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "history").exists():
        raise SetupError(f"{folder} has a history: --keep wants an empty directory, --again {folder} searches in it")
    filler = Filler(folder, past, options.decisions, math.ceil(options.decisions / A_DAY))
    for step in _STEPS:
        filled = filler.fill(int(options.decisions * step))
        (folder / _SAMPLE).write_text(json.dumps([*map(list, filled.sample)]))
        yield {
            "decisions": filled.decisions,
            "ingest_us": filled.cpu_us,
            "disk_bytes": filler.disk_bytes() / filled.decisions,
            "log_bytes": filled.log_bytes / filled.decisions,
        }
        for row in _searched(folder, filled.sample, options.questions):
            yield {"decisions": filled.decisions, **row}


def _searched(folder: Path, sample: Sequence[Values], questions: int) -> Iterator[Row]:
    for name, figures in searched(folder / "history", sample, questions).items():
        yield {"by": name, **figures}


def _what_if(folder: Path, kept: Path, questions: int) -> Row:
    settings = settings_for(folder / "server" / "forkpolicy.toml", kept)
    return {**exceptions_cost(settings, kept, _sample(kept), questions)}


def _sample(folder: Path) -> list[Values]:
    try:
        return [Values(*each) for each in json.loads((folder / _SAMPLE).read_text())]
    except OSError as error:
        raise SetupError(f"{folder} is not what --keep leaves: {error}") from error


def _lines(found: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    for part, rows in found.items():
        yield f"{part}:"
        for row in rows:
            yield "  " + "  ".join(f"{name} {_text(value)}" for name, value in row.items())


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if value == int(value) else f"{value:,.2f}"
