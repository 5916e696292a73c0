"""Colours on a terminal, none in a pipe or with NO_COLOR (https://no-color.org)."""

from __future__ import annotations

import os
from typing import TextIO

CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}


class Painter:
    """Paints text for one stream."""

    def __init__(self, stream: TextIO) -> None:
        self._on = stream.isatty() and not os.environ.get("NO_COLOR")

    def colour(self, name: str, text: str) -> str:
        """The text in a colour of CODES."""
        return f"\x1b[{CODES[name]}m{text}\x1b[0m" if self._on and text else text

    def bold(self, text: str) -> str:
        """What matters."""
        return self.colour("bold", text)

    def dim(self, text: str) -> str:
        """What does not."""
        return self.colour("dim", text)

    def red(self, text: str) -> str:
        """What failed."""
        return self.colour("red", text)
