"""Answers that were given and may be used again, in one process: bounded, the oldest goes first.

An answer is used until its time is over and never after that. Failures are kept for some seconds as well.
"""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.world.dns.answers import Answer

# 300 bytes each. An hour of a busy host: 10 clients a second that were not seen before, of two zones.
MAX_ENTRIES: Final = 65536


class Cache:
    """By name and type. `clock`: seconds that never go back."""

    __slots__ = ("_clock", "_entries", "_most")

    def __init__(self, most: int = MAX_ENTRIES, clock: Callable[[], float] = monotonic) -> None:
        """At most `most` answers."""
        # Not a dict: to find its oldest entry takes longer and longer when the oldest always go (it skips holes).
        self._entries: OrderedDict[tuple[str, str], tuple[float, Answer]] = OrderedDict()
        self._most = most
        self._clock = clock

    def __len__(self) -> int:
        """How many are kept, those included whose time is over."""
        return len(self._entries)

    def get(self, name: str, rrtype: str) -> Answer | None:
        """The answer, if its time is not over."""
        entry = self._entries.get((name, rrtype))
        return entry[1] if entry is not None and entry[0] > self._clock() else None

    def put(self, name: str, rrtype: str, answer: Answer) -> None:
        """Keep an answer for its `ttl_s`."""
        key = (name, rrtype)
        # A renewed one goes to the end: it is the newest.
        self._entries.pop(key, None)
        self._entries[key] = (self._clock() + answer.ttl_s, answer)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)
