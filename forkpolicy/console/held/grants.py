"""Reasons that administrators gave to read mail of others: each holds a while, for one mail in one session.

They live in memory: after a restart of the console a reason is given again.
"""

from __future__ import annotations

import threading
import time
from typing import Final

GRANTED_S: Final = 900.0
_MOST_GRANTS: Final = 10_000


class Grants:
    """Used by the threads of all requests."""

    def __init__(self) -> None:
        self._until_s: dict[tuple[str, int], float] = {}
        self._lock = threading.Lock()

    def give(self, session: str, held: int) -> None:
        """From now on."""
        now_s = time.monotonic()
        with self._lock:
            if len(self._until_s) >= _MOST_GRANTS:
                self._until_s = {key: until_s for key, until_s in self._until_s.items() if until_s > now_s}
            self._until_s[session, held] = now_s + GRANTED_S

    def has(self, session: str, held: int) -> bool:
        """Whether one was given, and not too long ago."""
        with self._lock:
            return self._until_s.get((session, held), 0.0) > time.monotonic()
