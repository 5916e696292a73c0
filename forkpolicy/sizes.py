"""Sizes of memory and files as settings have them: `64M`, `2G`. Pure."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE: Final = re.compile(r"([1-9][0-9]{0,5})([KMGT])")


def size_bytes(text: str) -> int:
    """How many bytes a text such as `64M` means. Raises ValueError."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(f'expected a size such as "64M" or "2G", got "{text}"')
    return int(found[1]) * _UNITS[found[2]]


def size_text(size: int) -> str:
    """A number of bytes as people read it: `64 MiB`."""
    for unit in ("", "Ki", "Mi"):
        if size < 10 * 1024:
            return f"{size} {unit}B"
        size = (size + 512) // 1024
    return f"{size} GiB"
