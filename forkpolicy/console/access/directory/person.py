"""Somebody who signed in by another server. Nothing is kept of them but their sessions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from forkpolicy.tables.keys import fold_address

LOCAL: Final = "local"
_MOST_CHARACTERS: Final = 254  # of a mailbox in SMTP
# What RFC 5321 writes without quotes, and its like beyond ASCII: nothing that ends a word or a line of a protocol.
_ADDRESS: Final = re.compile(r"(?P<local>[^\s\"\\(),:;<>@\[\]]{1,64})@[a-z0-9_-]+(\.[a-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class Person:
    """`name`: the mail address that was proved, folded. `source`: by what, as `sign_in` has it. `addresses`: it and its
    aliases.
    """

    name: str
    source: str
    addresses: frozenset[str]


def address_of(text: str) -> str:
    """A typed name as a mail address, folded; empty: it cannot be one, and no server is asked."""
    folded = fold_address(text.strip())
    found = _ADDRESS.fullmatch(folded)
    return folded if found and folded.isprintable() and len(folded) <= _MOST_CHARACTERS else ""
