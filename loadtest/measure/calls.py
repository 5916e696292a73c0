"""What one call costs, in CPU of this process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Find = Callable[[Any], object]

# Other guests of the machine slow a round down by half, for seconds at a time: one of so many is left alone.
ROUNDS = 9


def call_us(find: Find, questions: Sequence[Any]) -> float:
    """CPU microseconds a question: the best of the rounds."""
    return min(_round_us(find, questions) for _ in range(ROUNDS))


def calls_us(asked: Sequence[tuple[Find, Sequence[Any]]]) -> list[list[float]]:
    """The same of several, in turn: for each of them all rounds."""
    rounds = [[_round_us(find, questions) for find, questions in asked] for _ in range(ROUNDS)]
    return [list(each) for each in zip(*rounds, strict=True)]


def _round_us(find: Find, questions: Sequence[Any]) -> float:
    """Without the cost of the loop."""
    started = time.process_time()
    for text in questions:
        find(text)
    asked = time.process_time() - started
    started = time.process_time()
    for _text in questions:
        pass
    return (asked - (time.process_time() - started)) / len(questions) * 1e6
