"""Line charts as SVG text, for a page that needs nothing from anywhere else.

A chart has named axes with units, one scale, at most a handful of lines, a legend and gridlines at round values. STYLE
is the style sheet of a page with charts, for light and dark screens.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 900, 260
LEFT, RIGHT, TOP, BOTTOM = 92, 20, 10, 46
TITLE_Y, LEGEND_Y, ROW = 16, 38, 20
# About what a letter of the legend takes.
LETTER = 7.2
# So few points are measurements of their own and not a course: each is shown.
FEW_POINTS = 30
COLOURS = ("#2f74c0", "#d2601a", "#2f9e57", "#9a5bb8", "#b58900", "#6b7885", "#d23c6f", "#179aa0")
STEPS = (1, 2, 2.5, 5, 10)
STYLE = """\
:root { color-scheme: light dark; --ink: #1c2126; --soft: #4a5560; --line: #dde1e5; --paper: #ffffff; }
@media (prefers-color-scheme: dark) {
:root { --ink: #e6e8ea; --soft: #a9b2bb; --line: #3a4148; --paper: #16191c; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2em auto; padding: 0 1em; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 1.6em; }
table { border-collapse: collapse; } td, th { padding: .2em .9em .2em 0; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } tr + tr td { border-top: 1px solid var(--line); }
svg { width: 100%; height: auto; margin: .8em 0; } svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
svg text.title { font-size: 13px; font-weight: 600; fill: var(--ink); } svg .grid { stroke: var(--line); }
.good { color: #2f9e57; } .bad { color: #d2392f; } code, pre { font-size: .9em; } pre { overflow-x: auto; }
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name and its points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


def chart(
    title: str,
    unit: str,
    lines: Sequence[Line],
    *,
    x_label: str = "seconds of the run",
    logarithmic: bool = False,
    x_from_zero: bool = False,
) -> str:
    """An SVG element; `unit` names the upright axis. Without any point: a sentence that says so."""
    points = [point for line in lines for point in line.points]
    if not points:
        return f"<p>{html.escape(title)}: nothing was measured.</p>"
    scale = _Scale(points, logarithmic=logarithmic, x_from_zero=x_from_zero)
    legend, rows = _legend(lines)
    top = LEGEND_Y + (rows - 1) * ROW + TOP
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts = [f'<text class="title" x="{LEFT}" y="{TITLE_Y}">{html.escape(title)}</text>', *legend]
    parts += [f'<g transform="translate(0,{top})">', *scale.grid(), *_drawn(lines, scale)]
    upright = f'transform="translate(16,{(HEIGHT - BOTTOM + TOP) / 2:.0f}) rotate(-90)"'
    parts.append(f'<text {upright} text-anchor="middle">{html.escape(unit)}</text>')
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(x_label)}</text></g>')
    label = html.escape(title)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT + top}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _drawn(lines: Sequence[Line], scale: _Scale) -> list[str]:
    parts = []
    few = max(len(line.points) for line in lines) <= FEW_POINTS
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        places = [(scale.x(x), scale.y(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{path}"/>')
        if few:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in places]
    return parts


def _legend(lines: Sequence[Line]) -> tuple[list[str], int]:
    """Its parts, and how many rows it takes."""
    parts, x, row = [], float(LEFT), 0
    for index, line in enumerate(lines):
        width = 32 + LETTER * len(line.name)
        if x + width > WIDTH - RIGHT and x > LEFT:
            x, row = float(LEFT), row + 1
        colour, y = COLOURS[index % len(COLOURS)], LEGEND_Y + row * ROW
        parts.append(f'<rect x="{x:.0f}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15:.0f}" y="{y}">{html.escape(line.name)}</text>')
        x += width
    return parts, row + 1


class _Scale:
    """From values to places on the chart."""

    def __init__(self, points: Sequence[tuple[float, float]], *, logarithmic: bool, x_from_zero: bool) -> None:
        self.first, self.last = min(x for x, _ in points), max(x for x, _ in points)
        self.first = 0.0 if x_from_zero else self.first
        self.logarithmic = logarithmic
        highest = max(y for _, y in points)
        if logarithmic:
            lowest = min((y for _, y in points if y > 0), default=1.0)
            self.low, self.high = 10 ** math.floor(math.log10(lowest)), 10 ** math.ceil(math.log10(max(highest, 1.0)))
            self.high = max(self.high, self.low * 10)
            self.ticks = [self.low * 10.0**n for n in range(round(math.log10(self.high / self.low)) + 1)]
        else:
            step = _step(highest)
            self.low, self.high = 0.0, step * max(1, math.ceil(highest / step))
            self.ticks = [step * n for n in range(round(self.high / step) + 1)]

    def x(self, value: float) -> float:
        span = self.last - self.first or 1.0
        return LEFT + (value - self.first) / span * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        if self.logarithmic:
            part = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    def grid(self) -> list[str]:
        parts = []
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_shown(tick)}</text>')
        step = _step(self.last - self.first)
        tick = math.ceil(self.first / step) * step
        while tick <= self.last:
            place = f'x="{self.x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}"'
            parts.append(f'<text class="tick" {place} text-anchor="middle">{_shown(tick)}</text>')
            tick += step
        return parts


def _step(highest: float) -> float:
    """A round distance of gridlines, about five of them."""
    if highest <= 0:
        return 1.0
    rough = highest / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * step for step in STEPS if power * step >= rough * 0.999)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"
