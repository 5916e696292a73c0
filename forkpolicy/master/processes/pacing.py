"""How long the logger leaves lines in its pipe, so that it is not woken for every one of them.

Waking it costs the machine more than deciding a request does. A line that comes alone is written at once; only where
lines have followed each other closely for a while does the logger pause before it reads again, and then it reads all of
them together. Pure arithmetic: called by logger.py, which has the clock and the pipe.
"""

from __future__ import annotations

from typing import Final

# No reader of a log sees 20 ms, and fifty reads a second cost nothing.
LONGEST_PAUSE_S: Final = 0.02
# So many reads in a row are a stream of lines: a burst of a few refusals is over before it is delayed.
QUICK_READS: Final = 16
# What a pause may let a pipe fill to: four times as many lines may come in the next one before any is lost.
FULL_ENOUGH: Final = 0.25


class Pacing:
    """Of one pipe that holds `capacity_bytes`."""

    def __init__(self, capacity_bytes: int) -> None:
        self._enough_bytes = capacity_bytes * FULL_ENOUGH
        self._pause_s = LONGEST_PAUSE_S
        self._quick_reads = 0
        self._read_at_s = 0.0

    def pause_s(self, now_s: float, read_bytes: int) -> float:
        """How long to leave the pipe alone after a read of so many bytes; 0: wait for the next line."""
        is_quick = now_s - self._read_at_s < 2 * LONGEST_PAUSE_S
        self._read_at_s = now_s
        self._quick_reads = self._quick_reads + 1 if is_quick else 0
        if self._quick_reads < QUICK_READS:
            self._pause_s = LONGEST_PAUSE_S
            return 0.0
        # What came in the last pause will come in the next: a small pipe, or a flood, has shorter ones.
        self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * self._enough_bytes / max(1, read_bytes))
        return self._pause_s
