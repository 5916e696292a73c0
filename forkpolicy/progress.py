"""A progress bar on a terminal's standard error, nothing at all elsewhere: output that is kept has no bars in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self, TextIO

WIDTH = 30
# Often enough to look alive, seldom enough to cost nothing.
DRAWN_EVERY_S = 0.1


class Progress:
    """Draws how far something is, and takes the line away behind it, however it ends.

    `stream` is None where there is none, as in a process without standard error.
    """

    def __init__(self, stream: TextIO | None, label: str = "") -> None:
        self._stream = stream if stream and stream.isatty() else None
        self._label = label
        self._is_drawn = False
        self.begin(0, "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self, total: int, what: str) -> None:
        """A next step: `total` is what `at` counts up to, 0 where nobody knows, as with a pipe."""
        self._total, self._what = total, what
        self._began_s = self._drawn_s = time.monotonic()

    def at(self, done: int, count: int) -> None:
        """Draw when it is time to: `done` of the total, `count` of what is counted."""
        now_s = time.monotonic()
        if self._stream and now_s - self._drawn_s >= DRAWN_EVERY_S:
            self._drawn_s, self._is_drawn = now_s, True
            rate = count / (now_s - self._began_s)
            self._stream.write(f"\r{self._label}{self._bar(done)}{count:,} {self._what}, {rate:,.0f} a second\x1b[K")
            self._stream.flush()

    def end(self) -> None:
        """Leave the line as it was before."""
        if self._stream and self._is_drawn:
            self._is_drawn = False
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _bar(self, done: int) -> str:
        if not self._total:
            return ""
        share = min(1.0, done / self._total)
        return f"[{'#' * int(share * WIDTH):<{WIDTH}}] {share:4.0%}  "
