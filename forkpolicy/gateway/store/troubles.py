"""What needs a person, in words, by the part of the store that has it: the console shows it on its first page.

Used by the event loop and by threads: each change is one step of a dict.
"""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


class Troubles:
    """The troubles of now. A part has at most one."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    def note(self, part: str, words: str) -> None:
        """A part has that trouble; it is logged when it is another one than before."""
        if self._words.get(part) != words:
            logger.error("%s: %s", part, words)
        self._words[part] = words

    def clear(self, part: str) -> None:
        """A part has none any more."""
        self._words.pop(part, None)

    def all(self) -> tuple[str, ...]:
        """All of them, as `part: words`."""
        return tuple(f"{part}: {words}" for part, words in sorted(self._words.items()))
