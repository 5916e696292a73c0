"""Lists that the policy fills: an action remembers a key for some time, and an ACL looks whether it is still there.

Record (kind `l`): the head alone, as its expiry says all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from forkpolicy.state import keys
from forkpolicy.state.store import FORMAT, HEAD, expires_at, expiry_of

if TYPE_CHECKING:
    from forkpolicy.state.store import Records


class ListedAnswer(NamedTuple):
    """Until when the key is listed, in seconds since 1970; None if it is not."""

    until_s: float | None


@dataclass(frozen=True, slots=True)
class Listed:
    """Whether a key is in a list."""

    kind: ClassVar[str] = "listed"

    list_name: str
    key: tuple[str, ...]

    def step(self, records: Records) -> ListedAnswer:
        """Look the key up."""
        record = records.get(keys.make(keys.LISTED, self.list_name, self.key))
        return ListedAnswer(None if record is None else float(expiry_of(record)))


@dataclass(frozen=True, slots=True)
class Remember:
    """Put a key into a list. Its time begins anew if it is there."""

    kind: ClassVar[str] = "listed"

    list_name: str
    key: tuple[str, ...]
    duration_s: int

    def step(self, records: Records) -> None:
        """Put it there."""
        key = keys.make(keys.LISTED, self.list_name, self.key)
        records.put(key, HEAD.pack(FORMAT, expires_at(records.now_s + self.duration_s)))


@dataclass(frozen=True, slots=True)
class Forget:
    """Take a key out of a list."""

    kind: ClassVar[str] = "listed"

    list_name: str
    key: tuple[str, ...]

    def step(self, records: Records) -> None:
        """Take it out."""
        records.delete(keys.make(keys.LISTED, self.list_name, self.key))
