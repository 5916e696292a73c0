"""What goes wrong in the store, in words."""

from __future__ import annotations

from forkpolicy.errors import EXIT_CANNOT_WRITE, ForkpolicyError


class StoreError(ForkpolicyError):
    """The store cannot be opened, read or written."""

    exit_code = EXIT_CANNOT_WRITE
