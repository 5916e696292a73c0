"""Why a value cannot be carried over, and what comes nearest to it."""

from __future__ import annotations


class Refused(ValueError):  # noqa: N818 - an outcome, not an error
    """A value that has no equal, or whose meaning nobody wrote down."""

    def __init__(self, reason: str, nearest: str = "") -> None:
        super().__init__(reason)
        self.nearest = nearest
