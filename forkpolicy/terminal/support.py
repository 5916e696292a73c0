"""Whether a stream is a terminal that rich may draw on. Imports no rich: a command that draws nothing is as fast as
without it.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

DUMB = ("dumb", "unknown")


def is_terminal(stream: TextIO) -> bool:
    """A terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "") not in DUMB


def has_rich() -> bool:
    """Whether the extra is installed."""
    return find_spec("rich") is not None
