"""Kept versions of policies and tables that name a person. Nothing of them is changed: a policy that has been edited is
not the one that decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.versions import POLICY, TABLE, VersionDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from forkpolicy.history.personal.person import Person

# One may begin in one piece and end in the next.
_LONGEST_ADDRESS_BYTES: Final = 1024


def versions_naming(directory: str, person: Person) -> Iterator[Path]:
    """The files of those that have the address anywhere, and of those that cannot be read."""
    versions = VersionDirectory(directory)
    for ending in (POLICY, TABLE):
        for path in sorted(versions.path.glob(f"[!.]*{ending}")):
            try:
                if _names(person, versions.chunks(path.name)):
                    yield path
            except HistoryError:
                yield path


def _names(person: Person, chunks: Iterable[bytes]) -> bool:
    before = b""
    for chunk in chunks:
        text = before + chunk
        if person.may_be_in(text):
            return True
        before = text[-_LONGEST_ADDRESS_BYTES:]
    return False
