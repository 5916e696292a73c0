"""A progress bar on a terminal's standard error, nothing at all elsewhere: output that is kept has no bars in it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

WIDTH = 30
# Often enough to look alive, seldom enough to cost nothing.
DRAWN_EVERY_S = 0.1


class Progress:
    """Draws how far a stream has been read. `total_bytes` is 0 where nobody knows, as with a pipe."""

    def __init__(self, stream: TextIO, total_bytes: int) -> None:
        self._stream = stream if stream.isatty() else None
        self._total_bytes = total_bytes
        self._began_s = self._drawn_s = time.monotonic()

    def at(self, done_bytes: int, requests: int) -> None:
        """Draw when it is time to."""
        now_s = time.monotonic()
        if self._stream and now_s - self._drawn_s >= DRAWN_EVERY_S:
            self._drawn_s = now_s
            rate = requests / (now_s - self._began_s)
            self._stream.write(f"\r{self._bar(done_bytes)}{requests:,} requests, {rate:,.0f} a second\x1b[K")
            self._stream.flush()

    def end(self) -> None:
        """Leave the line as it was before."""
        if self._stream:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _bar(self, done_bytes: int) -> str:
        if not self._total_bytes:
            return ""
        share = min(1.0, done_bytes / self._total_bytes)
        return f"[{'#' * int(share * WIDTH):<{WIDTH}}] {share:4.0%}  "
