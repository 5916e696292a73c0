"""Load shapes for locust: how many users there are at which time. `FORKPOLICY_SHAPE` picks one (locustfile.py).

`FORKPOLICY_SHAPE_USERS` (default 50) is the peak and `FORKPOLICY_SHAPE_S` (default 300) the length of the whole.
"""

from __future__ import annotations

import math
import os

from locust import LoadTestShape


class _Shape(LoadTestShape):
    abstract = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = int(os.environ.get("FORKPOLICY_SHAPE_USERS", "50"))
        self.length_s = float(os.environ.get("FORKPOLICY_SHAPE_S", "300"))

    def tick(self) -> tuple[int, float] | None:
        """Locust's question, once a second: users and how fast to get there, None at the end."""
        passed: float = self.get_run_time() / self.length_s  # type: ignore[no-untyped-call]
        return None if passed >= 1 else (max(1, round(self.peak * self.part(passed))), self.peak)

    def part(self, passed: float) -> float:
        """Which part of the peak, when `passed` of the whole is over."""
        raise NotImplementedError


class Curve(_Shape):
    """A day: night, a rise, a plateau, and night again."""

    def part(self, passed: float) -> float:
        """Half a cosine over its foot."""
        return 0.1 + 0.9 * (1 - math.cos(2 * math.pi * passed)) / 2


class Ramp(_Shape):
    """From nothing to the peak, evenly."""

    def part(self, passed: float) -> float:
        """As much as has passed."""
        return passed


class Spike(_Shape):
    """Quiet, ten times as many for a tenth of the time, quiet."""

    def part(self, passed: float) -> float:
        """The spike is in the middle."""
        return 1.0 if 0.45 <= passed < 0.55 else 0.1


class Soak(_Shape):
    """The same all the time."""

    def part(self, passed: float) -> float:  # noqa: ARG002 - the same all the time
        """All of it."""
        return 1.0


SHAPES = {"curve": Curve, "ramp": Ramp, "spike": Spike, "soak": Soak}
