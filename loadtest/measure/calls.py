"""What one call costs, in CPU of this process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Other guests of the machine slow a round down by half, for seconds at a time: one of so many is left alone.
ROUNDS = 9


def call_us(find: Callable[[str], object], questions: Sequence[str]) -> float:
    """CPU microseconds a question: the best of the rounds, without the cost of the loop."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for text in questions:
            find(text)
        asked = time.process_time() - started
        started = time.process_time()
        for _text in questions:
            pass
        rounds.append(asked - (time.process_time() - started))
    return min(rounds) / len(questions) * 1e6
