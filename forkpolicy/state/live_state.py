"""What a loaded policy asks: the store's place in a process, named when the policy is loaded and opened after the fork.

It is the live map, or an engine, which tools alone open here: a worker asks that over a connection of its own.

While it cannot be opened, each question raises StateError with the reason,
which evaluation turns into `on_error` (or "cannot be known" with `fail=skip`): never into "does not hold".

A generation with the same settings takes the open store of the previous one: LMDB opens no file twice in one process.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self, TypeVar

from forkpolicy.errors import StateError
from forkpolicy.state_settings import EMBEDDED

if TYPE_CHECKING:
    from forkpolicy.state.live_map import LiveMap
    from forkpolicy.state.redis.store import RedisStore
    from forkpolicy.state.store import Question, Store
    from forkpolicy.state_settings import StateSettings

T = TypeVar("T")


class LiveState:
    """The live map in `directory`, or the engine of `engine`. `refused` says why it is not open."""

    __slots__ = ("_opened_engine", "directory", "engine", "live_map", "refused")

    def __init__(self, directory: str, engine: StateSettings | None = None) -> None:
        self.directory, self.engine = directory, engine
        self.live_map: LiveMap | None = None
        self._opened_engine: RedisStore | None = None
        self.refused = "the engine is not asked here" if engine else f"{directory}: the map is not open yet"

    @classmethod
    def of(cls, state: StateSettings) -> Self:
        """The store of `[state]`."""
        return cls(state.live, None if state.url == EMBEDDED else state)

    def in_force(self, state: StateSettings) -> StateSettings:
        """Settings that a process has read later, with the store that it has: only a start opens another one."""
        first = self.engine
        return replace(state, url=first.url if first else EMBEDDED, prefix=first.prefix if first else state.prefix)

    def ask(self, question: Question[T]) -> T:
        """As Store.ask."""
        return self._opened().ask(question)

    def peek(self, question: Question[T]) -> T:
        """As Store.peek."""
        return self._opened().peek(question)

    def _opened(self) -> Store:
        store = self._opened_engine or self.live_map
        if store is None:
            raise StateError(self.refused)
        return store

    def open(self, *, read_only: bool = False) -> bool:
        """Open the map, after the fork; False, with `refused` saying why, if it cannot be opened. Tools open it
        `read_only`, to peek, and an engine too; a worker has nothing to open then.
        """
        if self.live_map or self._opened_engine or (self.engine and not read_only):
            return True
        try:
            if self.engine:
                from forkpolicy.state.redis.opening import open_store  # noqa: PLC0415 - most policies remember nothing

                self._opened_engine = open_store(self.engine)
            else:
                from forkpolicy.state.live_map import LiveMap  # noqa: PLC0415 - most policies remember nothing

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
        if self.engine:
            return True
        if self.live_map and self.live_map.was_replaced():
            self.close()
        if not self.open():
            return False
        if self.live_map:
            self.live_map.reader_check()
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
        """Close the map, or the engine's connections."""
        for store in (self.live_map, self._opened_engine):
            if store:
                store.close()
        self._opened_engine = None
        self.live_map, self.refused = None, f"{self.directory}: the map is closed"
