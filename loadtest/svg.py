"""Line charts as SVG text, for a page that needs nothing from anywhere else.

A chart has one axis of time, one scale, at most a handful of lines, a legend and gridlines at round values.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 900, 260
LEFT, RIGHT, TOP, BOTTOM = 84, 16, 34, 34
COLOURS = ("#1f5fa8", "#c8501e", "#2c8a4b", "#8a4fa3", "#b58900", "#4a5560", "#d23c6f", "#178f95")
STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name and its points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


def chart(title: str, unit: str, lines: Sequence[Line], *, x_unit: str = "s", logarithmic: bool = False) -> str:
    """An SVG element. Without any point: a sentence that says so."""
    points = [point for line in lines for point in line.points]
    if not points:
        return f"<p>{html.escape(title)}: nothing was measured.</p>"
    scale = _Scale(points, logarithmic=logarithmic)
    parts = [f'<text class="title" x="{LEFT}" y="16">{html.escape(title)}, {html.escape(unit)}</text>']
    parts += scale.grid(x_unit)
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in line.points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{path}"/>')
    parts += _legend(lines)
    label = html.escape(title)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _legend(lines: Sequence[Line]) -> list[str]:
    parts, at = [], WIDTH - RIGHT - sum(28 + 7 * len(line.name) for line in lines)
    for index, line in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        parts.append(f'<rect x="{at}" y="7" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{at + 14}" y="16">{html.escape(line.name)}</text>')
        at += 28 + 7 * len(line.name)
    return parts


class _Scale:
    """From values to places on the chart."""

    def __init__(self, points: Sequence[tuple[float, float]], *, logarithmic: bool) -> None:
        self.first, self.last = min(x for x, _ in points), max(x for x, _ in points)
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

    def grid(self, x_unit: str) -> list[str]:
        parts = []
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_shown(tick)}</text>')
        step = _step(self.last - self.first)
        tick = math.ceil(self.first / step) * step
        while tick <= self.last:
            words = f"{_shown(tick)} {x_unit}"
            place = f'x="{self.x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}"'
            parts.append(f'<text class="tick" {place} text-anchor="middle">{words}</text>')
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
