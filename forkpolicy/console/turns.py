"""How many of the few threads (serve.py) one visitor may have at a time. Further requests of the same account, or of
one network where nobody has signed in, wait for their turn, and those of others go past them.

They wait in the event loop, where waiting costs no thread. For one event loop.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AT_ONCE: Final = 3


@dataclass(slots=True)
class _Turn:
    """`wanted`: how many have it or wait for it."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    wanted: int = 0


class Turns:
    """Of everybody who has a request under way."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    @asynccontextmanager
    async def of(self, visitor: str) -> AsyncIterator[None]:
        """Wait until a visitor may have one more thread, and have it inside."""
        turn = self._turns.setdefault(visitor, _Turn())
        turn.wanted += 1
        try:
            async with turn.places:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[visitor]
