"""Stub, replaced soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from forkpolicy.compile.rows import RowSource


def open_source(argument: str, base: Path) -> RowSource:
    """Not there yet."""
    raise ValueError(f"this source does not exist yet ({argument}, {base})")
