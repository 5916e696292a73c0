"""Rate limits: how much of something has passed in each window, and whether one more would be too much.

A window is 16 slots and the current one, all of them counted whole: so no window ever has more than its limit, and a
place becomes free a sixteenth of the window late at most. What an ACL holds for is not counted (but with
`refused_counts`): a client that retries becomes free as soon as the windows allow.

Record (kind `r`): the head; for each window its current slot (u64), its total and the count of the current slot; then
for each window the counts of the 16 slots before, that of slot N at N % 16. Totals and counts have 32 bits, those of
bytes 64. The common case reads and writes the heads alone.

What one instance (the message that Postfix asks about) has counted stands in a record of its own, see `_Items`.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from math import ceil
from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from forkpolicy.state import keys
from forkpolicy.state.store import FORMAT, HEAD, LATEST_S, expires_at

if TYPE_CHECKING:
    from forkpolicy.state.store import Records

SLOTS = 16
INSTANCE_S = 3600
COUNTINGS = ("messages", "recipients", "bytes", "requests")

_COUNTED = Struct(HEAD.format + "Q")
# A sum of two of these is exact in the doubles of an engine's Lua, which must count the same.
MOST_AMOUNT = (1 << 52) - 1
_ITEM_BYTES = 9
# Of an instance with more requests the oldest are forgotten: what Postfix repeats are the last. It allows 1000
# recipients.
_MOST_ITEMS = 4096

_LONGEST_SUFFIX = 64
_ZEROS = (0,) * (SLOTS + 1)


class Limit(NamedTuple):
    """At most `amount` in any `window_s` seconds."""

    amount: int
    window_s: int


class WindowUse(NamedTuple):
    """How much of a window's limit had passed before the request."""

    used: int
    amount: int
    window_s: int


class RateAnswer(NamedTuple):
    """Whether the request would be too much in any window.

    `wait_s`: whole seconds until it would not be; 0 where it is not. An amount that is larger than its limit never
    passes: then the time until as much as the limit would. `used`: what each window had before the request.
    """

    over: bool
    wait_s: int
    limits: tuple[Limit, ...]
    used: tuple[int, ...]

    @property
    def windows(self) -> tuple[WindowUse, ...]:
        """Each window's use, in the order of the limits."""
        return tuple(WindowUse(used, *limit) for used, limit in zip(self.used, self.limits, strict=True))


@dataclass(frozen=True, slots=True)
class Rate:
    """One ACL of type rate and one key.

    `limits`: at least one. `counting`: one of COUNTINGS; it is part of the
    record's key, and so are the windows. `amount`: what the request is about to count; neither it nor a limit is above
    MOST_AMOUNT. `instance`: empty where each
    request counts. `item`: what makes a request of the instance the same one again, such as its recipient. `is_total`:
    `amount` is the total of the instance so far, less which its items have counted.
    """

    kind: ClassVar[str] = "rate"

    acl: str
    key: tuple[str, ...]
    limits: tuple[Limit, ...]
    counting: str
    amount: int
    instance: str = ""
    item: str = ""
    is_total: bool = False
    refused_counts: bool = False

    def step(self, records: Records) -> RateAnswer:
        """Count the request, unless that would be too much or it was counted before."""
        form = form_of(self.counting, self.limits)
        key = keys.make(keys.RATE, self.acl, self.key, form.suffix)
        if not self.instance:
            return self._count(records, form, key, self.amount)
        items = _Items(records, keys.with_suffix(keys.INSTANCE + key[1:], self.instance), self.item)
        amount = max(0, self.amount - items.counted) if self.is_total else self.amount
        if items.held or not amount or (items.is_known and not self.is_total):
            items.keep()
            return self._again(records, form, key, amount, over=items.held)
        answer = self._count(records, form, key, amount)
        if not answer.over or self.refused_counts:
            items.add(amount, held=answer.over)
        return answer

    def _count(self, records: Records, form: Form, key: bytes, amount: int) -> RateAnswer:
        now_s = records.now_s
        stored = records.get(key)
        record, heads = _current(form, stored, now_s)
        over, at, new = False, 3, [FORMAT, int(now_s) + form.lasts_s]
        for limit in self.limits:
            total = heads[at] + amount
            if total > limit[0]:
                over = True
            new += (heads[at - 1], total, heads[at + 1] + amount)
            at += 3
        if not amount:
            over = False
        elif not over or self.refused_counts:
            if over:
                _cap(form, new)
            records.put(key, _packed(form, new) + record[form.heads.size :])
        elif _is_ahead(form, stored, heads):
            # The clock was set back: without this, nothing would age before it is where it was.
            records.put(key, record)
        wait_s = _wait_s(form, record, heads, self.limits, amount, now_s) if over else 0
        return RateAnswer(over, wait_s, self.limits, heads[3::3])

    def _again(self, records: Records, form: Form, key: bytes, amount: int, *, over: bool) -> RateAnswer:
        """The answer to a request that the instance has had."""
        record, heads = _current(form, records.get(key), records.now_s)
        wait_s = _wait_s(form, record, heads, self.limits, amount, records.now_s) if over else 0
        return RateAnswer(over, wait_s, self.limits, heads[3::3])


class Form(NamedTuple):
    """How the record of some windows is laid out, whatever their limits are.

    `heads`: format, expiry, then slot, total and current count of each window. `counts`: the other counts of one
    window.
    """

    suffix: bytes
    windows_s: tuple[int, ...]
    heads: Struct
    counts: Struct
    size: int
    most: int
    lasts_s: int


@lru_cache(maxsize=4096)
def form_of(counting: str, limits: tuple[Limit, ...]) -> Form:
    """That of some windows; of bytes with more bits."""
    windows_s = tuple(limit.window_s for limit in limits)
    suffix = f"{counting}/{','.join(map(str, windows_s))}".encode()
    if len(suffix) > _LONGEST_SUFFIX:
        suffix = blake2b(suffix, digest_size=16).hexdigest().encode()
    code, most = ("Q", MOST_AMOUNT) if counting == "bytes" else ("I", (1 << 32) - 1)
    heads, counts = Struct(HEAD.format + f"Q{code}{code}" * len(limits)), Struct(f"<{SLOTS}{code}")
    size = heads.size + counts.size * len(limits)
    lasts_s = min(max(windows_s) * (SLOTS + 1) // SLOTS + 2, LATEST_S // 4)
    return Form(suffix, windows_s, heads, counts, size, most, lasts_s)


def _current(form: Form, record: bytes | None, now_s: float) -> tuple[bytes, tuple[int, ...]]:
    """A record as of now, and its heads: slots that the windows have left are taken off."""
    sixteenfold, at = now_s * SLOTS, 2
    if record is None or len(record) != form.size:
        fresh = [0, 0]
        for window_s in form.windows_s:
            fresh += (int(sixteenfold / window_s), 0, 0)
        return bytes(form.size), tuple(fresh)
    heads = form.heads.unpack_from(record)
    for window_s in form.windows_s:
        if int(sixteenfold / window_s) != heads[at]:
            record = _advanced(form, record, now_s)
            return record, form.heads.unpack_from(record)
        at += 3
    return record, heads


def _advanced(form: Form, record: bytes, now_s: float) -> bytes:
    """The record with each window moved to its slot of now.

    When the clock was set back, what is counted moves too, and ages from then: so no window of real time has more than
    its limit, and nobody waits longer than a window and its sixteenth. Now may be later in its slot than it was in that
    of the record, so each count moves one slot on: otherwise it would leave the window too early.
    """
    heads, counts = form.heads.unpack_from(record), b""
    new_heads = [*heads[:2]]
    for number, window_s in enumerate(form.windows_s):
        slot = int(now_s * SLOTS / window_s)
        steps = max(0, slot - heads[2 + 3 * number])
        *older, current = (_oldest_first(form, record, heads, number) + _ZEROS[:steps])[-SLOTS - 1 :]
        if slot < heads[2 + 3 * number]:
            *older, current = 0, *older[:-1], older[-1] + current
        new_heads += (slot, sum(older) + current, current)
        turn = SLOTS - slot % SLOTS
        counts += form.counts.pack(*older[turn:], *older[:turn])
    return form.heads.pack(*new_heads) + counts


def _is_ahead(form: Form, record: bytes | None, heads: tuple[int, ...]) -> bool:
    """Whether a record is of a later slot than these heads in any window."""
    if record is None or len(record) != form.size:
        return False
    return any(before > slot for before, slot in zip(form.heads.unpack_from(record)[2::3], heads[2::3], strict=True))


def _oldest_first(form: Form, record: bytes, heads: tuple[int, ...], number: int) -> tuple[int, ...]:
    """The counts of a window's 17 slots."""
    slot, current = heads[2 + 3 * number], heads[4 + 3 * number]
    ring = form.counts.unpack_from(record, form.heads.size + form.counts.size * number)
    return (*ring[slot % SLOTS :], *ring[: slot % SLOTS], current)


def _packed(form: Form, heads: list[int]) -> bytes:
    """The heads of a record."""
    try:
        return form.heads.pack(*heads)
    except struct_error:
        _cap(form, heads)
        return form.heads.pack(*heads)


def _cap(form: Form, heads: list[int]) -> None:
    """Of a total that the record cannot hold, leave as much as it can."""
    for at in range(3, len(heads), 3):
        excess = max(0, heads[at] - form.most)
        heads[at] -= excess
        heads[at + 1] = max(0, heads[at + 1] - excess)


def _wait_s(
    form: Form, record: bytes, heads: tuple[int, ...], limits: tuple[Limit, ...], amount: int, now_s: float
) -> int:
    """Whole seconds until each window has room for `amount`, or for its whole limit where that is less; at least 1."""
    free_at_s = now_s + 1
    for number, (most, window_s) in enumerate(limits):
        lacks = heads[3 + 3 * number] + min(amount, most) - most
        if lacks <= 0:
            continue
        freed = tuple(accumulate(_oldest_first(form, record, heads, number)))
        free_at_s = max(free_at_s, (heads[2 + 3 * number] + 1 + bisect_left(freed, lacks)) * window_s / SLOTS)
    return ceil(free_at_s - now_s)


def used(record: bytes, suffix: str, now_s: float) -> tuple[str, list[tuple[int, int]]]:
    """What is counted, and how much of it each window of a record has now: (amount, seconds). `suffix` of its key; no
    windows where that is a digest.
    """
    counting, _, windows = suffix.partition("/")
    if not windows:
        return "", []
    limits = tuple(Limit(0, int(window_s)) for window_s in windows.split(","))
    _, heads = _current(form_of(counting, limits), record, now_s)
    return counting, [(total, limit.window_s) for total, limit in zip(heads[3::3], limits, strict=True)]


def item_hash(item: str) -> bytes:
    """What a record has of the item of a request: 8 bytes."""
    return blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest() if item else bytes(8)


class _Items:
    """What one instance has counted, and for which of its requests (kind `i`).

    Record: the head, what was counted without the ACL holding (u64), then for each item its hash (8 bytes) and whether
    the ACL held (1 byte). It lasts for an hour after the instance's last request, however many others come between: a
    request that Postfix sends again, and the later stages of the message, find themselves and count nothing twice.
    """

    __slots__ = ("_data", "_hash", "_key", "_records", "counted", "held", "is_known")

    def __init__(self, records: Records, key: bytes, item: str) -> None:
        self._records, self._key = records, key
        self._hash = item_hash(item)
        data = records.get(key)
        self._data = data if data and len(data) >= _COUNTED.size else bytes(_COUNTED.size)
        self.counted: int = _COUNTED.unpack_from(self._data)[2]
        at = self._find()
        self.is_known, self.held = at >= 0, at >= 0 and self._data[at + 8] == 1

    def _find(self) -> int:
        at = self._data.find(self._hash, _COUNTED.size)
        while at >= 0 and (at - _COUNTED.size) % _ITEM_BYTES:
            at = self._data.find(self._hash, at + 1)
        return at

    def keep(self) -> None:
        """Begin the hour anew, if the instance has counted anything."""
        if len(self._data) > _COUNTED.size:
            self._put(self.counted, self._data[_COUNTED.size :])

    def add(self, amount: int, *, held: bool) -> None:
        """Remember the request."""
        at = self._find()
        items = (
            self._data[_COUNTED.size :] if at < 0 else self._data[_COUNTED.size : at] + self._data[at + _ITEM_BYTES :]
        )
        items = items[-_MOST_ITEMS * _ITEM_BYTES :] + self._hash + bytes([held])
        self._put(self.counted if held else min(self.counted + amount, MOST_AMOUNT), items)

    def _put(self, counted: int, items: bytes) -> None:
        expiry_s = expires_at(self._records.now_s + INSTANCE_S)
        self._records.put(self._key, _COUNTED.pack(FORMAT, expiry_s, counted) + items)
