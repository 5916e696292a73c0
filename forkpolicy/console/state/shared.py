"""What is remembered, for the threads of all requests: opened for each step of a walk, by one thread at a time.

LMDB opens a map once in a process, and a list that somebody reads slowly must not keep others from it.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from forkpolicy.preflight import control_path
from forkpolicy.state.reading import open_for_reading

if TYPE_CHECKING:
    from forkpolicy.settings import Settings


class SharedStore:
    """The store of these settings. Raises StateError."""

    def __init__(self, settings: Settings) -> None:
        self._state, self._control = settings.state, control_path(settings)
        self._one = threading.Lock()
        self._now_s = time.time()

    def walk(self, prefix: bytes, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """As Store.walk."""
        with self._one, closing(open_for_reading(self._state, self._control)) as store:
            found = store.walk(prefix, after, most)
            self._now_s = store.now_s()
        return found

    def now_s(self) -> float:
        """Its clock, when it was read last."""
        return self._now_s
