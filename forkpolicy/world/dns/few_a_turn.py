"""Work that comes in bursts, done in order, a few pieces in each turn of a loop: others have theirs in between."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.world.dns.loop import Loop

Piece = TypeVar("Piece")


class FewATurn(Generic[Piece]):
    """`do` is called with each piece, at most `most` times a turn. What it raises goes to who called: the loop, too."""

    def __init__(self, loop: Loop, most: int, do: Callable[[Piece], object]) -> None:
        self._loop, self._most, self._do = loop, most, do
        self._pieces: deque[Piece] = deque()
        self._turn, self._done = -1, 0
        self._is_due = False

    def add(self, piece: Piece) -> None:
        """Do it, now if this turn has room for it and nothing is before it."""
        self._pieces.append(piece)
        if len(self._pieces) == 1:
            self.run()

    def put(self, piece: Piece) -> None:
        """Have it done by the next `run`."""
        self._pieces.append(piece)

    def run_later(self) -> None:
        """Run in the next turn."""
        if not self._is_due:
            self._is_due = True
            self._loop.after(0, self._next_turn)

    def run(self) -> None:
        """Do as many as this turn has room for, the others in the next ones."""
        if self._turn != self._loop.turn:
            self._turn, self._done = self._loop.turn, 0
        try:
            while self._pieces and self._done < self._most:
                self._done += 1
                self._do(self._pieces.popleft())
        finally:
            if self._pieces:
                self.run_later()

    def clear(self) -> None:
        """Forget what is not done."""
        self._pieces.clear()

    def _next_turn(self) -> None:
        self._is_due = False
        self.run()
