"""What a worker counts for each request: plain numbers, since this is the hot path; flusher.py copies them."""

from __future__ import annotations

from array import array

LINEAR_BUCKETS = 1024
# The cells, 64 bits each: one block of memory, so that the turn in C counts without an object of Python (_turn.c).
REQUESTS, BUSY_NS, LINEAR_US = 0, 1, 2
CELLS = LINEAR_US + LINEAR_BUCKETS


class Counters:
    """Plain numbers of one worker; its beat copies them to the scoreboard. `slow_ns`: those of 2**20 ns or more;
    `waited_ns`: how long requests have waited for answers, which is no work of the worker.
    """

    __slots__ = ("cells", "errors", "protocol_errors", "slow_ns", "waited_ns")

    def __init__(self) -> None:
        self.cells = array("q", bytes(8 * CELLS))
        self.errors = 0
        self.protocol_errors = 0
        self.waited_ns = 0
        self.slow_ns: list[int] = []

    @property
    def requests(self) -> int:
        """How many were answered."""
        return self.cells[REQUESTS]

    @property
    def busy_ns(self) -> int:
        """The time that they took."""
        return self.cells[BUSY_NS]

    def add(self, elapsed_ns: int) -> None:
        """Count a request that took so long."""
        cells = self.cells
        cells[REQUESTS] += 1
        cells[BUSY_NS] += elapsed_ns
        bucket = elapsed_ns >> 10
        if bucket < LINEAR_BUCKETS:
            cells[LINEAR_US + bucket] += 1
        else:
            self.slow_ns.append(elapsed_ns)

    def wait(self, waited_ns: int) -> None:
        """Count the wait of a request that `add` counts as a whole."""
        self.waited_ns += waited_ns
        self.cells[BUSY_NS] -= waited_ns

    def take_linear_us(self) -> list[tuple[int, int]]:
        """How many requests took n to n+1 times 1.024 us, as pairs (n, requests) without zeros; forgotten with that."""
        taken = [(at, count) for at, count in enumerate(self.cells[LINEAR_US:]) if count]
        for at, _ in taken:
            self.cells[LINEAR_US + at] = 0
        return taken
