"""`python -m loadtest saturate`: the highest rate, and what latency costs at parts of it, for 1..N workers.

The highest rate is closed loop: every connection asks again as soon as it is answered. The curve is open loop: requests
fall due at a fixed rate whatever the server does, and latency counts from then (no coordinated omission). A bare echo
server on the same machine in the same run says what of it is the machine's. Generator and server share the cores.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import shlex
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from loadtest.clients import generator
from loadtest.errors import VerdictError
from loadtest.measure.processes import cpu_us, machine
from loadtest.measure.svg import STYLE, Line, chart
from loadtest.options import at_least, positive, report_directory
from loadtest.servers.echo import echo_server
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import PASSED, POLICY, Day

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from loadtest.clients.generator import Requests

PARTS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
WARM_UP_S = 0.5
HEADS = ("server", "offered/s", "answered/s", "CPU us/request", "p50 us", "p99 us", "p99.9 us", "longest us")
EXPLAINED = """\
In a closed loop every connection asks again as soon as it is answered: the highest rate. At an offered rate requests
fall due one after the other whatever the server does, and latency counts from then: what waits because the server is
behind is not forgiven. CPU is that of all of the server's processes. The generator runs on the same cores and needs its
part of them; the echo server, which answers without reading, shows how much is left.
"""


@dataclass(frozen=True, slots=True)
class Point:
    """One server at one offered load; `offered` 0 is closed loop."""

    server: str
    offered: float
    answered: float
    cpu_us: float
    p50_us: int
    p99_us: int
    p999_us: int
    longest_us: int

    def cells(self) -> list[str]:
        """As a row of the table, see HEADS."""
        offered = f"{self.offered:,.0f}" if self.offered else "closed loop"
        latency = (self.p50_us, self.p99_us, self.p999_us, self.longest_us)
        return [self.server, offered, f"{self.answered:,.0f}", f"{self.cpu_us:.1f}", *(f"{us:,}" for us in latency)]


@dataclass(frozen=True, slots=True)
class Saturation:
    """One run: where, when, and what was measured."""

    command: str
    when: str
    machine: str
    # How many processes wanted a core before it began: with more than none, rates are lower bounds.
    load_average: float
    connections: int
    points: list[Point]

    @property
    def head(self) -> str:
        """When, where and how busy."""
        return f"{self.when}, {self.machine}, load average before {self.load_average:.1f}"


def main(argv: Sequence[str]) -> int:
    """Run it, print the table; a wrong verdict or a lost reply is VerdictError."""
    options = _options(argv)
    when, busy = time.strftime("%Y-%m-%d %H:%M"), os.getloadavg()[0]
    with traversable_directory() as directory:
        points = list(_points(directory, Day(load_profile(options.profile)), options))
    command = f"python -m loadtest saturate {shlex.join(argv)}".strip()
    found = Saturation(command, when, machine(), busy, options.connections, points)
    figures = json.dumps(asdict(found), indent=2)
    print(figures if options.json else table(found))
    if options.report:
        for name, text in (("html", page(found)), ("json", figures), ("txt", table(found))):
            (options.report / f"saturate.{name}").write_text(text + "\n")
    return 0


def table(found: Saturation) -> str:
    """The points as text."""
    widths = (22, 13, 12, 16, 11, 11, 11, 12)
    rows = [HEADS, *(point.cells() for point in found.points)]
    lines = [
        row[0].ljust(widths[0]) + "".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
    return "\n".join([found.head, f"$ {found.command}", "", *lines])


def page(found: Saturation) -> str:
    """The highest rates and the curves as an HTML page."""
    highest = [point for point in found.points if not point.offered]
    limit = highest[0].answered
    best = [[point.server, f"{point.answered:,.0f}", f"{point.answered / limit:.0%}"] for point in highest]
    parts = [
        "<h1>The highest rate, and latency against load</h1>",
        f"<p>{html.escape(found.head)}, {found.connections} connections</p>",
        f"<p><code>{html.escape(found.command)}</code></p>",
        f"<p>{html.escape(EXPLAINED)}</p>",
        "<h2>Highest rate</h2>",
        _table(("server", "requests/s", f"of the {highest[0].server}'s"), best),
        "<h2>Latency against offered load</h2>",
        *_charts(found, [point.server for point in highest]),
        "<h2>All figures</h2>",
        _table(HEADS, [point.cells() for point in found.points]),
    ]
    head = f'<meta charset="utf-8"><title>Saturation</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _charts(found: Saturation, servers: Sequence[str]) -> Iterator[str]:
    for name, what in (("p50_us", "Median latency"), ("p99_us", "p99 latency"), ("p999_us", "p99.9 latency")):
        lines = [
            Line(server, [(p.offered, getattr(p, name)) for p in found.points if p.server == server and p.offered])
            for server in servers
        ]
        x_label = "requests a second that fall due"
        yield chart(what, "microseconds", lines, x_label=x_label, logarithmic=True, x_from_zero=True)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [_row("th", heads), *(_row("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _row(tag: str, cells: Sequence[str]) -> str:
    """The first one is a name, the others are numbers."""
    name, *numbers = map(html.escape, cells)
    return f"<tr><{tag}>{name}</{tag}>" + "".join(f'<{tag} class="n">{each}</{tag}>' for each in numbers) + "</tr>"


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest saturate", description=__doc__)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=at_least(1), default=cores, help="try 1 to this many (%(default)s)")
    parser.add_argument("--connections", type=at_least(1), default=64, help="(%(default)s)")
    parser.add_argument("--seconds", type=positive, default=3.0, help="for each point (%(default)s)")
    parser.add_argument("--profile", default="bench", help="where the requests come from (%(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs instead of a table")
    parser.add_argument("--report", type=report_directory, help="directory for saturate.html, .json and .txt")
    return parser.parse_args(argv)


def _points(directory: Path, day: Day, options: argparse.Namespace) -> Iterator[Point]:
    requests = day.requests()
    # What an echo server answers is always the same.
    unjudged = [(text, PASSED) for text, _ in requests]
    for native in (True, False):
        with echo_server(directory / "echo", native=native) as pid:
            if pid is not None:
                yield from _curve(f"{'C' if native else 'Python'} echo", directory / "echo", [pid], unjudged, options)
                break
    for workers in range(1, options.workers + 1):
        with Server(
            directory / f"server{workers}", POLICY, sources=day.sources, workers=workers, decisions="none"
        ) as server:
            name = f"forkpolicy, {workers} worker{'s'[: workers - 1]}"
            yield from _curve(name, server.socket_path, server.process_ids(), requests, options)


def _curve(
    name: str, path: Path, pids: Sequence[int], requests: Requests, options: argparse.Namespace
) -> Iterator[Point]:
    generator.run(path, requests, connections=options.connections, seconds=WARM_UP_S)
    highest = _point(name, path, pids, requests, options)
    yield highest
    for part in PARTS:
        yield _point(name, path, pids, requests, options, highest.answered * part)


def _point(
    name: str,
    path: Path,
    pids: Sequence[int],
    requests: Requests,
    options: argparse.Namespace,
    offered: float = 0.0,
) -> Point:
    before_us = cpu_us(pids)
    load = generator.run(path, requests, connections=options.connections, seconds=options.seconds, rate=offered)
    used_us = cpu_us(pids) - before_us
    if trouble := load.trouble(requests):
        raise VerdictError(f"{name}: {trouble}")
    p50, p99, p999 = (load.latency.percentile(percent) for percent in (50, 99, 99.9))
    return Point(name, offered, load.rate, used_us / max(1, load.replies), p50, p99, p999, load.latency.highest())
