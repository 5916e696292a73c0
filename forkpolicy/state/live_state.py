"""What a loaded policy asks: the store's place in a worker, named when the policy is loaded and opened after the fork.

While it cannot be, each question raises StateError with the reason,
which evaluation turns into `on_error` (or "cannot be known" with `fail=skip`): never into "does not hold".

A generation with the same settings takes the open store of the previous one: LMDB opens no file twice in one process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from forkpolicy.errors import StateError
from forkpolicy.state import map_file
from forkpolicy.state.live_map import LiveMap

if TYPE_CHECKING:
    from forkpolicy.state.store import Question

T = TypeVar("T")


class LiveState:
    """The live map in `directory`. `refused` says why it is not open."""

    __slots__ = ("directory", "live_map", "refused")

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.live_map: LiveMap | None = None
        self.refused = f"{directory}: the map is not open yet"

    def ask(self, question: Question[T]) -> T:
        """As Store.ask."""
        return self._opened().ask(question)

    def peek(self, question: Question[T]) -> T:
        """As Store.peek."""
        return self._opened().peek(question)

    def _opened(self) -> LiveMap:
        if self.live_map is None:
            raise StateError(self.refused)
        return self.live_map

    def open(self, *, read_only: bool = False) -> bool:
        """Open the map, after the fork; False, with `refused` saying why, if it cannot be opened. Tools open it
        `read_only`, to peek.
        """
        if self.live_map:
            return True
        try:
            self.live_map = LiveMap.open(self.directory, read_only=read_only)
        except StateError as error:
            self.refused = str(error)
            return False
        self.refused = ""
        return True

    def refresh(self) -> bool:
        """Each second: open the map if it was not there or is another file by now; whether it is open.

        It is another one when somebody has removed the directory, and the server has made it again.
        """
        if self.live_map and map_file.identity_of(self.directory) not in {None, self.live_map.identity}:
            self.close()
        if not self.open():
            return False
        self._opened().reader_check()
        return True

    def take_over(self, previous: LiveState) -> None:
        """Take the open map of the previous generation, if it is the same; else close that one. Opens nothing."""
        if previous is self:
            return
        if previous.directory == self.directory and self.live_map is None:
            self.live_map, self.refused = previous.live_map, previous.refused
            previous.live_map = None
        previous.close()

    def close(self) -> None:
        """Close the map."""
        if self.live_map:
            self.live_map.close()
        self.live_map, self.refused = None, f"{self.directory}: the map is closed"
