"""Which files `init` may replace: those that are as it delivered them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# `init` replaces a file by itself only while this line is true of all that is above it.
_SEAL: Final = "# As delivered; forkpolicy init may replace this file while this is its digest: "


def sealed(text: str) -> str:
    """A text with a last line by which it is known to be as it was delivered."""
    return f"{text}{_SEAL}{_digest(text)}\n"


def changed_by_people(files: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """The files that the draft would replace although they are neither as delivered nor the begin of the draft."""
    return [
        name
        for name, text in files.items()
        if name in there and not _is_sealed(there[name]) and not text.startswith(there[name].rstrip("\n"))
    ]


def _is_sealed(text: str) -> bool:
    body, seal, digest = text.rpartition(_SEAL)
    return bool(seal) and digest.strip() == _digest(body)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
