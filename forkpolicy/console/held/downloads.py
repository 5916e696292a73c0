"""Downloads under way, each held until the browser has it: a few of one account, some more of all. For all threads.

A browser may read as slowly as it likes, so what it has not read yet must not stand in memory as a whole, nor for ever
(page.py, Download). Raises TooMany.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import TooMany

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OF_ONE: Final = 6
OF_ALL: Final = 24
_PIECE_BYTES: Final = 1 << 16


class Downloads:
    """How many each account has."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def begin(self, account: str) -> Callable[[], None]:
        """One more; what ends it."""
        with self._lock:
            if self._counts[account] >= OF_ONE or self._counts.total() >= OF_ALL:
                raise TooMany("Too many downloads at this moment: try again when one has ended.")
            self._counts[account] += 1
        return lambda: self._end(account)

    def _end(self, account: str) -> None:
        with self._lock:
            self._counts[account] -= 1
            if not self._counts[account]:
                del self._counts[account]


class Pieces:
    """The pieces of a download; `close` is called once, at its end or when nobody wants them any more."""

    def __init__(self, pieces: Iterator[bytes], close: Callable[[], None]) -> None:
        self._pieces, self._close = pieces, close
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give back what it holds."""
        if self._is_open:
            self._is_open = False
            self._close()

    def __del__(self) -> None:
        # The browser hung up: what sends pieces drops them then, without a word.
        self.close()


def pieces_of(content: bytes) -> Iterator[bytes]:
    """Bytes in pieces."""
    return (content[at : at + _PIECE_BYTES] for at in range(0, len(content), _PIECE_BYTES))
