"""When a server that does not answer is asked again: after 0.25 s, 0.5 s ... 30 s, each half as long or half as long
again by chance, so that the workers of many hosts do not all come at once.

A server can answer a PING and refuse every command. So a PING closes a breaker on probation: the next failure opens it
again, and the delays go on growing. Only a command that was executed ends that.
"""

from __future__ import annotations

import random
from typing import Final

FIRST_S: Final = 0.25
LONGEST_S: Final = 30.0
MOST_FAILURES: Final = 3


class Breaker:
    """Of one server. `is_open`: nothing is asked, since it fails, for this `reason`. `failures`: how many in a row."""

    def __init__(self) -> None:
        self.is_open = False
        self.reason = ""
        self.failures = 0
        self._delay_s = FIRST_S

    def failed(self, reason: str, *, is_certain: bool = False) -> bool:
        """Count a failure; whether that has opened it. `is_certain`: one is enough."""
        self.failures += 1
        self.reason = reason
        if self.is_open or not (is_certain or self.failures >= MOST_FAILURES):
            return False
        self.is_open = True
        return True

    def probe(self) -> None:
        """It can be reached: close, on probation."""
        self.is_open = False
        self.failures = MOST_FAILURES - 1

    def succeeded(self) -> None:
        """Begin anew."""
        self.is_open = False
        self.failures, self._delay_s = 0, FIRST_S

    def next_delay_s(self) -> float:
        """How long to wait before the next attempt."""
        delay_s, self._delay_s = self._delay_s, min(self._delay_s * 2, LONGEST_S)
        return delay_s * random.uniform(0.5, 1.5)  # noqa: S311 - it spreads attempts
