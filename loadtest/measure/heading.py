"""What stands above every table of figures: the machine, how busy it was, the Python, and how it was measured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from loadtest.measure.interpreter import NOT_OPTIMISED, interpreter, optimised
from loadtest.measure.processes import machine

if TYPE_CHECKING:
    from collections.abc import Mapping

Heading = dict[str, str | float | bool]


def heading(rounds: str) -> Heading:
    """Before the first round, because the load average is that of the machine without us. `rounds`: how many."""
    return {
        "machine": machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": interpreter(),
        "optimised": optimised(),
        "rounds": rounds,
    }


def heading_lines(found: Mapping[str, str | float | bool]) -> list[str]:
    """As text, with an empty line at the end."""
    lines = [f"{found['machine']}; load average before: {found['load_average']}", str(found["python"])]
    if not found["optimised"]:
        lines.append(NOT_OPTIMISED)
    return [*lines, str(found["rounds"]), ""]


def others_line(cores: float) -> str:
    """What is said below a table of what else the machine did meanwhile."""
    return f"Other processes kept up to {cores:.1f} cores busy."
