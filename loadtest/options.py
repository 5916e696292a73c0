"""What the commands take: numbers that make sense, and a directory for the report that can be written to.

For argparse: a wrong value is a usage error (exit status 2) with what was expected, before anything is started.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def at_least(least: int) -> Callable[[str], int]:
    """A whole number."""

    def number(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number, at least {least}, and not {text}")
        return int(text)

    return number


def positive(text: str) -> float:
    """Any number above 0."""
    if _float(text) <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, and not {text}")
    return float(text)


def not_negative(text: str) -> float:
    """Any number from 0 on."""
    if _float(text) < 0:
        raise argparse.ArgumentTypeError(f"expected a number, at least 0, and not {text}")
    return float(text)


def counts(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [at_least(1)(each) for each in text.split(",")]


def some_of(names: Collection[str]) -> Callable[[str], list[str]]:
    """Names with commas between them."""

    def chosen(text: str) -> list[str]:
        wrong = [each for each in text.split(",") if each not in names]
        if wrong:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(names)}, and not {wrong[0]}")
        return text.split(",")

    return chosen


def shares(text: str) -> list[float]:
    """Numbers above 0 with commas between them."""
    return [positive(each) for each in text.split(",")]


def report_directory(text: str) -> Path:
    """A directory that is there from now on: a run of an hour must not end in want of one."""
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot make the directory {text}: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write to {text}")
    return path


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("-inf")
