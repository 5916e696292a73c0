"""The log's lines that explain ids of other lines (`in force`): kept, to stand again at the start of each file.

A rotated file is read alone, perhaps years later. Pure.
"""

from __future__ import annotations

import re
from typing import Final

# In both styles; what a stranger sends cannot begin a line.
_DEFINITION: Final = re.compile(
    rb'^(?:\{"time":"[^"]*","level":"info","event":|time=\S+ level=info event=)"in force"[^\n]*?'
    rb'\bin_force(?:=|":")([0-9a-z]+)[^\n]*\n',
    re.MULTILINE,
)
_HINT: Final = b'"in force"'
# Ids of so many versions: workers that lag behind and reloads that follow each other are a handful.
_KEPT: Final = 32


class Definitions:
    """Those of one log."""

    def __init__(self) -> None:
        self._lines: dict[bytes, bytes] = {}

    def note(self, lines: bytes) -> None:
        """Whole lines that are written: keep what they define. Workers define the same id one after the other."""
        if _HINT not in lines:
            return
        for found in _DEFINITION.finditer(lines):
            self._lines.pop(found[1], None)
            self._lines[found[1]] = found[0]
        while len(self._lines) > _KEPT:
            del self._lines[next(iter(self._lines))]

    def text(self) -> bytes:
        """All of them, the oldest first."""
        return b"".join(self._lines.values())
