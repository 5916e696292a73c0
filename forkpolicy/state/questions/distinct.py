"""How many different values a key has had within a window, such as the addresses from which a user signs in.

Record (kind `d`): the head, then for each value its hash (6 bytes) and when it was last seen (u32, whole seconds,
rounded up), the oldest first. One more than the limit is kept: that is exact, as the newest decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from forkpolicy.state import keys
from forkpolicy.state.store import FORMAT, HEAD, expires_at

if TYPE_CHECKING:
    from forkpolicy.state.store import Records

MOST = 1000

_ENTRY = Struct("<6sI")


class DistinctAnswer(NamedTuple):
    """Whether there are too many different values, this one included, and how many (one above the limit at most)."""

    over: bool
    different: int


@dataclass(frozen=True, slots=True)
class Distinct:
    """One ACL of type distinct, one key and one value. `most`: above so many in `window_s` the ACL holds."""

    kind: ClassVar[str] = "distinct"

    acl: str
    key: tuple[str, ...]
    value: str
    most: int
    window_s: int

    def step(self, records: Records) -> DistinctAnswer:
        """Remember the value, whether it is too many or not."""
        now_s = records.now_s
        now_whole_s = expires_at(now_s)
        key = keys.make(keys.DISTINCT, self.acl, self.key, b"%d" % self.window_s)
        value = value_hash(self.value)
        entries = _without(_recent(records.get(key), now_s, self.window_s), value) + _ENTRY.pack(value, now_whole_s)
        entries = entries[-(self.most + 1) * _ENTRY.size :]
        records.put(key, HEAD.pack(FORMAT, expires_at(now_whole_s + self.window_s)) + entries)
        different = len(entries) // _ENTRY.size
        return DistinctAnswer(different > self.most, different)


def value_hash(value: str) -> bytes:
    """What a record has of a value: 6 bytes."""
    return blake2b(value.encode("utf-8", "surrogatepass"), digest_size=6).digest()


def different(record: bytes, now_s: float, window_s: int) -> int:
    """How many different values a record has now; of those above the limit one is kept."""
    return len(_recent(record, now_s, window_s)) // _ENTRY.size


def _recent(record: bytes | None, now_s: float, window_s: int) -> bytes:
    """The entries that are still in the window. What was seen later than now (the clock was set back) was seen now."""
    if record is None:
        return b""
    start = HEAD.size
    end = len(record) - (len(record) - start) % _ENTRY.size
    latest_s = expires_at(now_s)
    if end > start and _ENTRY.unpack_from(record, end - _ENTRY.size)[1] > latest_s:
        seen = _ENTRY.iter_unpack(record[start:end])
        return b"".join(_ENTRY.pack(value, min(at_s, latest_s)) for value, at_s in seen if at_s > now_s - window_s)
    while start < end and _ENTRY.unpack_from(record, start)[1] <= now_s - window_s:
        start += _ENTRY.size
    return record[start:end]


def _without(entries: bytes, value: bytes) -> bytes:
    at = entries.find(value)
    while at >= 0 and at % _ENTRY.size:
        at = entries.find(value, at + 1)
    return entries if at < 0 else entries[:at] + entries[at + _ENTRY.size :]
