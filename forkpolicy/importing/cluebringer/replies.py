"""Verdicts of the modules as replies of ours. Pure. Raises ValueError for one that nobody knows."""

from __future__ import annotations

import re
from typing import Final

_VERDICTS: Final = ("HOLD", "REJECT", "DISCARD", "FILTER", "REDIRECT", "OK", "DEFER")
_CODED: Final = {"REJECT": re.compile(r"5\d\d .+", re.ASCII), "DEFER": re.compile(r"4\d\d .+", re.ASCII)}


def reply_of(verdict: str, data: str) -> str:
    """`REJECT` with a text, or the text's own code. Raises ValueError."""
    word = verdict.strip().upper()
    if word not in _VERDICTS:
        raise ValueError(f"{verdict} is not a verdict: the server replied with DEFER")
    text = " ".join(data.split())
    if word in _CODED and _CODED[word].fullmatch(text):
        return text
    # What stands behind OK is shown to nobody.
    return f"{word} {text}".strip() if word != "OK" else word
