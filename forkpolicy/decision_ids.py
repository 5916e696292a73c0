"""Ids of logged decisions, and of what they were decided with.

A decision's id is random: people read it out of a reply (`{code}`) or a log line and look the decision up by it.
Without vowels no id is a word, and without capitals it can be read out on the phone. 31^12 are nearly 60 bits: of the
150 million decisions of a busy month, two have the same id once in 70 months.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ALPHABET: Final = "0123456789bcdfghjklmnpqrstvwxyz"
ID_CHARS: Final = 12
IN_FORCE_CHARS: Final = 8
# A byte of the kernel's as a character. 256 is not a multiple of 31: eight characters come a little more often.
_CHARACTERS: Final = bytes(ord(ALPHABET[byte % len(ALPHABET)]) for byte in range(256))
# So many ids of one read: 0.1 us each, where a draw for each of their characters takes 3.
_AT_ONCE: Final = 256


def decision_ids() -> Callable[[], str]:
    """A function that makes ids of the kernel's random bytes. Called after the fork: what one process has read and not
    used yet must not be used by another, too.
    """
    characters, at = "", 0

    def new_id() -> str:
        nonlocal characters, at
        if at == len(characters):
            characters, at = os.urandom(ID_CHARS * _AT_ONCE).translate(_CHARACTERS).decode(), 0
        at += ID_CHARS
        return characters[at - ID_CHARS : at]

    return new_id


def in_force_id(policy: str, settings: str, tables: Iterable[tuple[str, str]]) -> str:
    """The id of the versions of a policy, of the settings that change decisions and of the tables: the same wherever
    they are the same.
    """
    digest = blake2b(digest_size=8)
    for text in (policy, settings, *(part for table in sorted(tables) for part in table)):
        digest.update(text.encode() + b"\0")
    number = int.from_bytes(digest.digest(), "big")
    chars = []
    for _ in range(IN_FORCE_CHARS):
        number, at = divmod(number, len(ALPHABET))
        chars.append(ALPHABET[at])
    return "".join(chars)
