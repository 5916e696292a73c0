"""What goes wrong with the history, in words."""

from __future__ import annotations

from forkpolicy.errors import ForkpolicyError


class HistoryError(ForkpolicyError):
    """The history cannot be read or written."""


class UnavailableError(HistoryError):
    """It cannot be at the moment: a server is away, or has no room. A writer tries again."""
