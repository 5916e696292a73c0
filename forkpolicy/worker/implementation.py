"""Which implementation of the usual turn runs: `_turn.c` where it was built, else its reference in Python.

They do the same, and only the cost differs. FORKPOLICY_PURE=1 in the environment picks Python. The choice is made
once, when the server starts: workers are forked and share it.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.protocol.attributes import ATTRIBUTES
from forkpolicy.protocol.layout import Layout
from forkpolicy.worker.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Implementation:
    """`turn` makes a connection's turn, `layout` a learnt layout from the names of a request and those wanted."""

    name: str
    turn: type[Turn]
    layout: Callable[[Sequence[str], Sequence[str]], Layout]


PYTHON = Implementation("python", Turn, Layout)


def _compiled() -> Implementation | None:
    """The one in C; None where it was not built."""
    try:
        module = importlib.import_module("forkpolicy.worker._turn")
    except ImportError:
        return None

    def layout(names: Sequence[str], wanted: Sequence[str]) -> Layout:
        starts = tuple(f"{name}=".encode("utf-8", "surrogateescape") for name in names)
        places = tuple(wanted.index(name) if name in wanted else -1 for name in names)
        made: Layout = module.Layout(starts, places, tuple("" if name in ATTRIBUTES else None for name in wanted))
        return made

    return Implementation("c", module.Turn, layout)


C = _compiled()
CHOSEN = PYTHON if C is None or os.environ.get("FORKPOLICY_PURE") == "1" else C
