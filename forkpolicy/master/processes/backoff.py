"""When to start a worker again: at once, unless workers die before they have served, then later and later.

A pure function of history, as Postfix's master throttles a service whose process dies on its first job. A worker that
has been ready and dies later is replaced at once: whatever killed it, Postfix is waiting.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0


@dataclass(slots=True)
class Backoff:
    """Failed starts in a row, and until when none is tried."""

    failures: int = 0
    not_before_s: float = 0.0
    failed_at_s: float = 0.0

    def failed_start(self, now_s: float, longest_s: float = LONGEST_DELAY_S) -> float:
        """Note a failed start; the delay before the next one, `longest_s` at most."""
        self.failures += 1
        delay_s: float = min(FIRST_DELAY_S * 2 ** (self.failures - 1), longest_s)
        self.not_before_s = now_s + delay_s
        self.failed_at_s = now_s
        return delay_s

    def served(self) -> None:
        """Note that workers start as they should."""
        self.failures = 0
        self.not_before_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """How long until the next start may be tried; 0: now."""
        return max(0.0, self.not_before_s - now_s)
