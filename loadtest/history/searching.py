"""How long a search takes, in milliseconds of a clock: what `history find` does, without the start of the program.

Cold: the kernel has none of the files in memory (it is asked to drop them before each question). Warm: the question was
asked just before. At most 100 decisions are read, as `find` prints them.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING, Final

from forkpolicy.history.query import query_of
from forkpolicy.history.search import History
from loadtest.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtest.traffic.past_decisions import Values

_MOST: Final = 100
WORDS: Final[dict[str, Callable[[Values], str]]] = {
    "recipient": lambda values: f"to:{values.recipient}",
    "client": lambda values: f"client:{values.client}",
    "sender": lambda values: f"from:{values.sender}",
    "domain": lambda values: f"from:@{values.sender.rpartition('@')[2]}",
    "network": lambda values: f"client:{values.client.rpartition('.')[0]}.0/24",
    "id": lambda values: values.id,
}


def searched(directory: Path, sample: Sequence[Values], questions: int) -> dict[str, dict[str, float]]:
    """For each kind of word, milliseconds: warm and cold, the median and the most of so many questions."""
    found = {}
    for name, word_of in WORDS.items():
        words = [word_of(values) for values in sample[:questions]]
        cold = [_cold_ms(directory, word) for word in words]
        warm = [min(_asked_ms(directory, word) for _ in range(3)) for word in words]
        found[name] = {
            "warm_median_ms": statistics.median(warm),
            "warm_most_ms": max(warm),
            "cold_median_ms": statistics.median(cold),
            "cold_most_ms": max(cold),
        }
    return found


def _cold_ms(directory: Path, word: str) -> float:
    drop_from_memory(directory)
    return _asked_ms(directory, word)


def _asked_ms(directory: Path, word: str) -> float:
    started_s = time.perf_counter()
    found = list(History(str(directory)).find(query_of([word], time.time()), _MOST))
    elapsed_ms = (time.perf_counter() - started_s) * 1000
    if not found:
        raise SetupError(f"{word} was written, and is not found")
    return elapsed_ms


def drop_from_memory(directory: Path) -> None:
    """Ask the kernel to keep nothing of these files in memory."""
    for entry in os.scandir(directory):
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # What was just written can only be dropped once it is on disk.
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
