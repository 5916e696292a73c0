"""How far work is that takes long: a bar on a terminal's standard error, nothing at all elsewhere.

Output that is kept has no bars in it. Without rich there are none either; what rich needs to be imported is spent only
where something is drawn.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from forkpolicy.terminal.support import has_rich, is_terminal

if TYPE_CHECKING:
    from typing import Self, TextIO

    from forkpolicy.terminal.bar import Bar

# Often enough to look alive, seldom enough to cost nothing.
DRAWN_EVERY_S = 0.1


class Progress:
    """Draws how far something is, and takes the line away behind it, however it ends.

    `stream` is None where there is none, as in a process without standard error.
    """

    def __init__(self, stream: TextIO | None, label: str = "") -> None:
        self._stream = stream if stream and is_terminal(stream) and has_rich() else None
        self._label = label
        self._bar: Bar | None = None
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
            self._drawn_s = now_s
            rate = count / max(now_s - self._began_s, 1e-9)
            self._drawn(self._stream).draw(done, self._total, f"{count:,} {self._what}, {rate:,.0f} a second")

    def end(self) -> None:
        """Leave the line as it was before."""
        if self._bar:
            self._bar.close()
            self._bar = None

    def _drawn(self, stream: TextIO) -> Bar:
        if self._bar is None:
            from forkpolicy.terminal.bar import Bar  # noqa: PLC0415 - rich is an extra, and takes 30 ms to import

            self._bar = Bar(stream, self._label)
        return self._bar
