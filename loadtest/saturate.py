"""`python -m loadtest saturate`: the highest rate, and what latency costs at parts of it, for 1..N workers.

The highest rate is closed loop: every connection asks again as soon as it is answered. The curve is open loop: requests
fall due at a fixed rate whatever the server does, and latency counts from then (no coordinated omission). A bare echo
server on the same machine in the same run says what of it is the machine's. Generator and server share the cores.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest import generator
from loadtest.echo import echo_server
from loadtest.errors import VerdictError
from loadtest.postfix import traversable_directory
from loadtest.processes import machine
from loadtest.profile import load_profile
from loadtest.server import Server
from loadtest.stream import POLICY, Day
from loadtest.svg import Line, chart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.generator import Load

PARTS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
WARM_UP_S = 0.5


@dataclass(frozen=True, slots=True)
class Point:
    """One server at one offered load; `offered` 0 is closed loop."""

    server: str
    offered: float
    answered: float
    p50_us: int
    p99_us: int
    p999_us: int
    longest_us: int


def main(argv: Sequence[str]) -> int:
    """Run it, print the table; a wrong verdict or a lost reply is VerdictError."""
    options = _options(argv)
    requests = Day(load_profile(options.profile)).requests()
    with traversable_directory() as stage:
        points = list(_points(stage, requests, options))
    if options.json:
        print(json.dumps({"machine": machine(), "points": [asdict(point) for point in points]}, indent=2))
    else:
        print(table(points))
    if options.report:
        options.report.mkdir(parents=True, exist_ok=True)
        (options.report / "saturate.html").write_text(page(points))
    return 0


def table(points: Sequence[Point]) -> str:
    """The points as text."""
    lines = [machine(), "", f"{'server':<22}{'offered/s':>11}{'answered/s':>12}{'p50 us':>9}{'p99 us':>9}"]
    lines[-1] += f"{'p99.9 us':>10}{'longest us':>12}"
    for point in points:
        offered = f"{point.offered:,.0f}" if point.offered else "closed loop"
        lines.append(
            f"{point.server:<22}{offered:>11}{point.answered:>12,.0f}{point.p50_us:>9,}{point.p99_us:>9,}"
            f"{point.p999_us:>10,}{point.longest_us:>12,}"
        )
    return "\n".join(lines)


def page(points: Sequence[Point]) -> str:
    """The curves as an HTML page."""
    servers = dict.fromkeys(point.server for point in points)
    charts = []
    for name, what in (("p50_us", "Median latency"), ("p99_us", "p99 latency"), ("p999_us", "p99.9 latency")):
        lines = [
            Line(server, [(p.answered, getattr(p, name)) for p in points if p.server == server and p.offered])
            for server in servers
        ]
        charts.append(
            chart(what, "microseconds against requests a second", lines, x_label="requests a second", logarithmic=True)
        )
    style = "body{font:15px system-ui,sans-serif;max-width:960px;margin:2em auto}"
    style += "svg text{font:12px system-ui}.grid{stroke:#ddd}"
    head = f'<meta charset="utf-8"><title>Saturation</title><style>{style}</style>'
    body = f"<h1>Latency against load</h1>{''.join(charts)}<pre>{table(points)}</pre>"
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest saturate", description=__doc__)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=cores, help="try 1 to this many (%(default)s)")
    parser.add_argument("--connections", type=int, default=64, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each point (%(default)s)")
    parser.add_argument("--profile", default="bench", help="where the requests come from (%(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    parser.add_argument("--report", type=Path, help="directory for saturate.html")
    return parser.parse_args(argv)


def _points(stage: Path, requests: list[tuple[bytes, bool]], options: argparse.Namespace) -> Iterator[Point]:
    # What an echo server answers is always the same, so nothing about it is right or wrong.
    unjudged = [(text, False) for text, _ in requests]
    for native in (True, False):
        with echo_server(stage / "echo", native=native) as pid:
            if pid is not None:
                yield from _curve(f"{'C' if native else 'Python'} echo", stage / "echo", unjudged, options)
                break
    day = Day(load_profile(options.profile))
    for workers in range(1, options.workers + 1):
        directory = stage / f"server{workers}"
        with Server(directory, POLICY, sources=day.sources, workers=workers, decisions="none") as server:
            yield from _curve(
                f"forkpolicy, {workers} worker{'s'[: workers - 1]}", server.socket_path, requests, options
            )


def _curve(name: str, path: Path, requests: list[tuple[bytes, bool]], options: argparse.Namespace) -> Iterator[Point]:
    generator.run(path, requests, connections=options.connections, seconds=WARM_UP_S)
    highest = generator.run(path, requests, connections=options.connections, seconds=options.seconds)
    yield _point(name, 0.0, highest)
    for part in PARTS:
        rate = highest.rate * part
        load = generator.run(path, requests, connections=options.connections, seconds=options.seconds, rate=rate)
        yield _point(name, rate, load)


def _point(name: str, offered: float, load: Load) -> Point:
    if load.wrong or load.lost:
        raise VerdictError(f"{name}: {load.wrong} wrong verdicts and {load.lost} lost replies of {load.replies}")
    p50, p99, p999 = (load.latency.percentile(percent) for percent in (50, 99, 99.9))
    return Point(name, offered, load.rate, p50, p99, p999, load.latency.highest())
