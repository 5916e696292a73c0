"""What a worker counts for each request: plain numbers, since this is the hot path; flusher.py copies them."""

from __future__ import annotations

from dataclasses import dataclass, field

LINEAR_BUCKETS = 1024


@dataclass
class Counters:
    """Plain numbers of one worker; its beat copies them to the scoreboard.

    `linear_us[n]` counts requests that took n times 1.024 us, up to a millisecond; `slow_ns` has the longer ones.
    """

    requests: int = 0
    busy_ns: int = 0
    errors: int = 0
    protocol_errors: int = 0
    linear_us: list[int] = field(default_factory=lambda: [0] * LINEAR_BUCKETS)
    slow_ns: list[int] = field(default_factory=list)
