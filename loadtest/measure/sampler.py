"""What a server's processes cost while a run goes on: CPU, memory and descriptors, once a second, from the kernel.

And how late a thread on each core wakes, twenty times a second: where a core has too much to do, the load test is held
up like the server is, and a slow reply of that moment says nothing about the server.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from loadtest.measure.processes import cpu_us, descriptors, memory_kib, title

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INTERVAL_S = 1.0
WAKE_S = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. CPU is the share of a core since the look before."""

    at_s: float
    cpu: dict[int, float]
    memory_kib: dict[int, int]
    anonymous_kib: dict[int, int]
    descriptors: dict[int, int]


class Sampler:
    """Looks at processes from a thread. Use as a context manager."""

    def __init__(self, process_ids: Callable[[], Sequence[int]]) -> None:
        """Whatever `process_ids` says at each look: workers come and go."""
        self.samples: list[Sample] = []
        # What ps calls them: "master", "log", "worker 0".
        self.titles: dict[int, str] = {}
        self._started_s = self._held_up_s = self._held_up_at_s = 0.0
        self._process_ids = process_ids
        self._stopping = threading.Event()
        watchers = [threading.Thread(target=self._watch, args=(core,)) for core in os.sched_getaffinity(0)]
        self._threads = [threading.Thread(target=self._run), *watchers]

    @property
    def held_up(self) -> tuple[float, float]:
        """The longest time for which a core held the load test itself up, and when that ended, in seconds."""
        return self._held_up_s, self._held_up_at_s

    def __enter__(self) -> Self:
        """Begin."""
        self._started_s = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        last_s = self._started_s
        before = {pid: cpu_us([pid]) for pid in self._process_ids()}
        while not self._stopping.wait(INTERVAL_S):
            now_s = time.monotonic()
            before, last_s = self._look(before, now_s - self._started_s, now_s - last_s), now_s

    def _watch(self, core: int) -> None:
        # 0: this thread alone. The kernel wakes a thread where there is room, and one full core would go unnoticed.
        os.sched_setaffinity(0, {core})
        woken_s = time.monotonic()
        while not self._stopping.wait(WAKE_S):
            now_s = time.monotonic()
            late_s = now_s - woken_s - WAKE_S
            if late_s > self._held_up_s:
                self._held_up_s, self._held_up_at_s = late_s, now_s - self._started_s
            woken_s = now_s

    def _look(self, before: dict[int, float], at_s: float, passed_s: float) -> dict[int, float]:
        """One sample; the CPU that everybody has used by now."""
        pids = self._process_ids()
        self.titles |= {pid: title(pid) for pid in pids if pid not in self.titles}
        memory = {pid: memory_kib(pid) for pid in pids}
        used = {pid: cpu_us([pid]) for pid in pids}
        self.samples.append(
            Sample(
                at_s,
                {pid: (used[pid] - before.get(pid, 0.0)) / 1e6 / passed_s for pid in pids},
                {pid: share for pid, (share, _) in memory.items()},
                {pid: anonymous for pid, (_, anonymous) in memory.items()},
                {pid: descriptors(pid) for pid in pids},
            )
        )
        return used
