"""Passwords as argon2id hashes. A few are computed at a time and a few more wait, so that many tries need no more than
the memory of a few, and leave threads to those who look at pages.

RFC 9106 recommends these parameters where memory is short: 64 MiB and three passes. One takes 0.1 to 0.2 s of a core.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from forkpolicy.console.errors import TooMany, UserMistake

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_CHARACTERS: Final = 10
MOST_CHARACTERS: Final = 1000
AT_ONCE: Final = 2
WAITING: Final = 2
_hasher: Final = PasswordHasher(time_cost=3, memory_cost=64 << 10, parallelism=1)
_places: Final = threading.BoundedSemaphore(AT_ONCE + WAITING)
_turns: Final = threading.BoundedSemaphore(AT_ONCE)
# Of a text that nobody knows: an account that is not there costs what one costs that is.
_NOBODYS: Final = _hasher.hash("b7d4e0a8-nobody-signs-in-with-this")


def hashed(password: str) -> str:
    """The hash of a new password. Raises UserMistake where it is too short or too long, TooMany."""
    if len(password) < LEAST_CHARACTERS:
        raise UserMistake(f"The password has {len(password)} characters: at least {LEAST_CHARACTERS}.", "password")
    if len(password) > MOST_CHARACTERS:
        raise UserMistake(f"The password has more than {MOST_CHARACTERS} characters.", "password")
    with _turn():
        return _hasher.hash(password)


def is_right(hash_text: str | None, password: str) -> bool:
    """Whether it is the password of that hash; None is the hash of nobody, and takes as long. Raises TooMany."""
    with _turn():
        try:
            _hasher.verify(hash_text or _NOBODYS, password[:MOST_CHARACTERS])
        except (VerificationError, InvalidHashError):
            return False
    return hash_text is not None


def is_old(hash_text: str) -> bool:
    """Whether it was made with other parameters than today's."""
    return _hasher.check_needs_rehash(hash_text)


@contextmanager
def _turn() -> Iterator[None]:
    if not _places.acquire(blocking=False):
        raise TooMany("Many people sign in at this moment: try again in some seconds.")
    try:
        with _turns:
            yield
    finally:
        _places.release()
