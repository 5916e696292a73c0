"""The report of a run: a page of its own (HTML with drawings, nothing loaded from anywhere) and the same as text."""

from __future__ import annotations

import html
import math
import re
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from loadtest.measure.histogram import write_log
from loadtest.measure.processes import machine
from loadtest.measure.results import Second
from loadtest.measure.svg import STYLE, Line, chart

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loadtest.measure.results import Results
    from loadtest.measure.sampler import Sample

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
T = TypeVar("T")
# More points than this are more than a chart has room for.
MOST_POINTS = 600


@dataclass(slots=True)
class Run:
    """Everything about one run that is in the report."""

    title: str
    command: str
    results: Results
    expected: int
    samples: Sequence[Sample] = ()
    titles: dict[int, str] = field(default_factory=dict)
    workers: Sequence[tuple[int, int, int]] = ()  # process id, connections, requests
    events: Sequence[tuple[float, str]] = field(default_factory=list)
    # How long the load test itself got no CPU, and when that ended: replies of that moment were held up with it.
    held_up: tuple[float, float] = (0.0, 0.0)
    # More lines for the report, and what else went wrong.
    notes: Sequence[str] = ()
    failures: Sequence[str] = ()

    @property
    def missing(self) -> int:
        """Recipients of the day for which no request was sent."""
        return max(0, self.due - self.results.replies - self.results.lost_count)

    @property
    def due(self) -> int:
        """Recipients of the day, and those of the mails that came again."""
        return self.expected + self.results.retried

    @property
    def good(self) -> bool:
        """Every verdict came and was right, and nothing else failed."""
        return not (self.results.wrong_count or self.results.lost_count or self.missing or self.failures)

    @property
    def length_s(self) -> int:
        """Seconds from the first reply to the last."""
        return max(self.results.seconds, default=0) - min(self.results.seconds, default=0) + 1

    def figures(self) -> list[tuple[str, str]]:
        """The table at the top."""
        results, latency = self.results, self.results.latency()
        seconds = results.seconds.values()
        refused, passed = (sum(each.verdicts[name] for each in seconds) for name in ("refused", "passed"))
        rows = [
            ("verdicts", f"{results.replies:,} of {self.due:,} ({refused:,} refused, {passed:,} passed)"),
            ("wrong, lost, missing", f"{results.wrong_count}, {results.lost_count}, {self.missing}"),
            ("length", f"{self.length_s} s, {results.replies / self.length_s:,.0f} verdicts a second"),
            ("latency", ", ".join(f"p{percent:g} {_us(latency.percentile(percent))}" for percent in PERCENTILES)),
            ("longest", _us(latency.highest())),
        ]
        if self.samples:
            length_s, at_s = self.held_up
            rows.append(("the load test itself held up", f"at most {_us(int(length_s * 1e6))}, at {at_s:.1f} s"))
        if results.late_us > 0:
            rows.append(("furthest behind its clock", _us(results.late_us)))
        if self.samples:
            cpu_s = sum(sum(sample.cpu.values()) for sample in self.samples)
            rows.append(("server's CPU", f"{cpu_s:.1f} s, {cpu_s * 1e6 / max(1, results.replies):.1f} us a verdict"))
            rows.append(("server's memory", f"{sum(self.samples[-1].memory_kib.values()) / 1024:.1f} MiB at the end"))
        return rows


def text(run: Run) -> str:
    """For a terminal."""
    lines = [run.title, f"{time.strftime('%Y-%m-%d %H:%M')}, {machine()}", f"$ {run.command}", ""]
    width = max(len(name) for name, _ in run.figures())
    lines += [f"{name:<{width}}  {value}" for name, value in run.figures()]
    lines += ["", "kind           verdicts"]
    lines += [f"{kind:<14} {count:>8,}" for kind, count in run.results.kinds.most_common()]
    if run.workers:
        lines += ["", "worker   connections    requests"]
        lines += [f"{pid:<8} {connections:>11} {requests:>11,}" for pid, connections, requests in run.workers]
    kinds = Counter(re.sub(r"\d+", "N", what) for _, what in run.events)
    lines += ["", "events", *(f"{count:>4} x {kind}" for kind, count in kinds.items())] if kinds else []
    lines += ["", "slowest replies", *(f"{_us(us):>9}, at {at_s} s: {words}" for us, at_s, words in _slowest(run))]
    lines += ["", *run.notes, *_judgement(run)]
    return "\n".join(lines)


def page(run: Run) -> str:
    """The HTML page."""
    results = run.results
    good = "good" if run.good else "bad"
    parts = [
        f"<h1>{html.escape(run.title)}</h1>",
        f"<p>{time.strftime('%Y-%m-%d %H:%M')}, {html.escape(machine())}</p>",
        f"<p><code>{html.escape(run.command)}</code></p>",
        f'<p class="{good}"><strong>{html.escape(_judgement(run)[0])}</strong></p>',
        _table([(name, value) for name, value in run.figures()]),
        *charts(run),
        "<h2>Kinds of mail</h2>",
        _table([(kind, f"{count:,}") for kind, count in results.kinds.most_common()], numbers=True),
    ]
    if run.workers:
        rows = [
            (str(pid), f"{requests:,} requests", f"{connections} connections")
            for pid, connections, requests in run.workers
        ]
        parts += ["<h2>Workers at the end</h2>", _table(rows)]
    if run.events:
        parts += ["<h2>Events</h2>", _table([(f"{at_s:.1f} s", what) for at_s, what in run.events])]
    if run.notes:
        parts += ["<h2>At the end</h2>", f"<pre>{html.escape(chr(10).join(run.notes))}</pre>"]
    rows = [(_us(us), f"at {at_s} s", words) for us, at_s, words in _slowest(run)]
    parts += ["<h2>Slowest replies</h2>", _table(rows)]
    failed = ("Failures", run.failures)
    for title, examples in (("Wrong verdicts", results.wrong), ("Lost replies", results.lost), failed):
        if examples:
            parts += [
                f"<h2>{title} (the first {len(examples)})</h2>",
                f"<pre>{html.escape(chr(10).join(examples))}</pre>",
            ]
    head = f'<meta charset="utf-8"><title>{html.escape(run.title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def charts(run: Run) -> list[str]:
    """Rate, verdicts, latency; and per process CPU and memory where they were looked at."""
    seconds = sorted(run.results.seconds.items())
    # The first and the last second are not whole ones.
    whole = seconds[1:-1] or seconds
    step = math.ceil(len(whole) / MOST_POINTS)
    groups = [_together(group) for group in _groups(whole, step)]
    verdicts = [
        Line(name, [(at, second.verdicts[name] / step) for at, second in groups])
        for name in ("refused", "passed", "wrong", "lost")
        if name in ("refused", "passed") or any(second.verdicts[name] for _, second in groups)
    ]
    latency = [
        Line(
            f"p{percent:g}", [(at, second.latency.percentile(percent)) for at, second in groups if second.latency.total]
        )
        for percent in PERCENTILES
    ]
    drawn = [
        "<h2>Over time</h2>",
        chart("Verdicts", "verdicts a second", verdicts),
        chart("Latency", "microseconds", latency, logarithmic=True),
    ]
    if run.samples:
        pids = sorted({pid for sample in run.samples for pid in sample.cpu})
        drawn.append(chart("CPU of each process", "% of a core", _per_process(run, pids, "cpu", 100)))
        drawn.append(chart("Memory of each process", "MiB (PSS)", _per_process(run, pids, "memory_kib", 1 / 1024)))
    return drawn


def write(run: Run, directory: Path) -> None:
    """report.html and report.txt."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "report.html").write_text(page(run))
    (directory / "report.txt").write_text(text(run) + "\n")
    results = run.results
    seconds = ((results.start_s + at, second.latency) for at, second in sorted(results.seconds.items()))
    write_log(directory / "latency.hlog", seconds)


def _per_process(run: Run, pids: Sequence[int], name: str, factor: float) -> list[Line]:
    # A soak kills workers by the dozen; eight lines are what a reader can tell apart.
    shown = pids if len(pids) <= 8 else sorted(pids, key=lambda pid: -sum(pid in each.cpu for each in run.samples))[:8]
    step = math.ceil(len(run.samples) / MOST_POINTS)
    # One after the other may have the same name.
    names = Counter(run.titles.get(pid, str(pid)) for pid in shown)
    lines = []
    for pid in shown:
        points = [(each.at_s, getattr(each, name)[pid] * factor) for each in run.samples if pid in getattr(each, name)]
        thinned = [(group[0][0], statistics.fmean(value for _, value in group)) for group in _groups(points, step)]
        title = run.titles.get(pid, str(pid))
        lines.append(Line(f"{title} ({pid})" if names[title] > 1 else title, thinned))
    return lines


def _groups(values: Sequence[T], step: int) -> list[Sequence[T]]:
    return [values[at : at + step] for at in range(0, len(values), max(1, step))]


def _together(seconds: Sequence[tuple[int, Second]]) -> tuple[int, Second]:
    total = Second()
    for _, second in seconds:
        total.verdicts.update(second.verdicts)
        total.latency.add(second.latency)
    return seconds[0][0], total


def _judgement(run: Run) -> list[str]:
    results = run.results
    if run.good:
        return ["Every verdict came, and every one was right."]
    words = f"{results.wrong_count} wrong verdicts, {results.lost_count} lost replies, {run.missing} never asked for"
    words += f", {len(run.failures)} other failures." if run.failures else "."
    return [
        words,
        *(f"  wrong: {each}" for each in results.wrong[:5]),
        *(f"  lost: {each}" for each in results.lost[:5]),
        *(f"  failed: {each}" for each in run.failures[:5]),
    ]


def _slowest(run: Run) -> list[tuple[int, float, str]]:
    return run.results.slowest[::-1]


def _table(rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    kind = ' class="n"' if numbers else ""
    cells = [
        f"<tr><td>{html.escape(first)}</td>{''.join(f'<td{kind}>{html.escape(each)}</td>' for each in rest)}</tr>"
        for first, *rest in rows
    ]
    return f"<table>{''.join(cells)}</table>"


def _us(us: int) -> str:
    if us < 10_000:
        return f"{us} us"
    return f"{us / 1000:.1f} ms" if us < 10_000_000 else f"{us / 1e6:.1f} s"
