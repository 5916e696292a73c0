"""What every peer has: a name, words that start it, and the replies that are right for it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadtest.traffic.mail import Transaction
    from loadtest.traffic.traffic import Day

    # What the right reply to a mail and one of its recipients begins with.
    Right = Callable[[Transaction, str], bytes]

# Peers give up root for this user and group.
OWNER = ("nobody", "nogroup")
FOUNDING_RULE = "the founding rule"


@dataclass(frozen=True, slots=True)
class Peer:
    """One server: its program, its Debian package, what it does here, the words that start it, and what is right."""

    name: str
    program: str
    package: str
    job: str
    # Writes its files below a directory, for a day and a number of connections, and returns its command line.
    words: Callable[[Path, Day, int], list[str]]
    right: Callable[[Day], Right]
    # It goes into the background by itself and leaves its process id in a file.
    daemon: bool = False

    def installed(self) -> bool:
        """Whether Debian's package is there."""
        return shutil.which(self.program, path=search_path()) is not None


def search_path() -> str:
    """PATH with the directories of daemons."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
