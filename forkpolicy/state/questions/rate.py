"""Rate limits: how much of something has passed in each window, and whether one more would be too much.

A window is 16 slots and the current one, all of them counted whole: so no window ever has more than its limit, and a
place becomes free a sixteenth of the window late at most. What an ACL holds for is not counted (but with
`refused_counts`): a client that retries becomes free as soon as the windows allow.

Record (kind `r`): the head; for each window its current slot (u64) and total; then for each window 17 counts, that of
slot N at N % 17. Totals and counts have 32 bits, those of bytes 64. The common case reads the heads and writes a head
and a count.

What one instance (the message that Postfix asks about) has counted stands in a record of its own, see `_Items`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from math import ceil
from struct import Struct
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from forkpolicy.state import keys
from forkpolicy.state.store import FORMAT, HEAD, expires_at

if TYPE_CHECKING:
    from forkpolicy.state.store import Records

SLOTS = 16
RING = SLOTS + 1
INSTANCE_S = 3600
COUNTINGS = ("messages", "recipients", "bytes", "requests")

_COUNTED = Struct(HEAD.format + "Q")
_COUNTED_MOST = (1 << 64) - 1
_ITEM_BYTES = 9
# Of an instance with more requests the oldest are forgotten: what Postfix repeats are the last. It allows 1000
# recipients.
_MOST_ITEMS = 4096

_LONGEST_SUFFIX = 64


class Limit(NamedTuple):
    """At most `amount` in any `window_s` seconds."""

    amount: int
    window_s: int


class WindowUse(NamedTuple):
    """How much of a window's limit had passed before the request."""

    used: int
    amount: int
    window_s: int


@dataclass(frozen=True, slots=True)
class RateAnswer:
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


_NO_LIMIT = RateAnswer(over=False, wait_s=0, limits=(), used=())


@dataclass(frozen=True, slots=True)
class Rate:
    """One ACL of type rate and one key.

    `limits`: none means that nothing holds and nothing is counted. `counting`: one of COUNTINGS; it is part of the
    record's key, and so are the windows. `amount`: what the request is about to count. `instance`: empty where each
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
        if not self.limits:
            return _NO_LIMIT
        form = _form(self.counting, self.limits)
        key = keys.make(keys.RATE, self.acl, self.key, form.suffix)
        use = _Use(form, records.get(key), records.now_s)
        if not self.instance:
            return self._decide(records, key, use, self.amount)
        items = _Items(records, keys.with_suffix(keys.INSTANCE + key[1:], self.instance), self.item)
        amount = max(0, self.amount - items.counted) if self.is_total else self.amount
        if items.held or not amount or (items.is_known and not self.is_total):
            items.keep()
            return self._answer(use, amount, over=items.held)
        answer = self._decide(records, key, use, amount)
        if not answer.over or self.refused_counts:
            items.add(amount, held=answer.over)
        return answer

    def _decide(self, records: Records, key: bytes, use: _Use, amount: int) -> RateAnswer:
        over = False
        for limit, total in zip(self.limits, use.totals, strict=True):
            if total + amount > limit.amount and amount:
                over = True
        answer = self._answer(use, amount, over=over)
        if amount and (not over or self.refused_counts):
            records.put(key, use.with_more(amount))
        return answer

    def _answer(self, use: _Use, amount: int, *, over: bool) -> RateAnswer:
        wait_s = use.wait_s(self.limits, amount) if over else 0
        return RateAnswer(over, wait_s, self.limits, tuple(use.totals))


class _Form(NamedTuple):
    """How the record of some windows is laid out, whatever their limits are."""

    suffix: bytes
    windows_s: tuple[int, ...]
    heads: Struct
    counts: Struct  # of one window
    one: Struct  # a count
    most: int
    lasts_s: float


@lru_cache(maxsize=4096)
def _form(counting: str, limits: tuple[Limit, ...]) -> _Form:
    windows_s = tuple(limit.window_s for limit in limits)
    suffix = f"{counting}/{','.join(map(str, windows_s))}".encode()
    if len(suffix) > _LONGEST_SUFFIX:
        suffix = blake2b(suffix, digest_size=16).hexdigest().encode()
    code, bits = ("Q", 64) if counting == "bytes" else ("I", 32)
    return _Form(
        suffix,
        windows_s,
        Struct(HEAD.format + f"Q{code}" * len(limits)),
        Struct(f"<{RING}{code}"),
        Struct(f"<{code}"),
        (1 << bits) - 1,
        max(windows_s) * RING / SLOTS,
    )


class _Use:
    """What a record has counted, as of `now_s`: slots that the windows have left are taken off."""

    __slots__ = ("_data", "_form", "_now_s", "_slots", "totals")

    def __init__(self, form: _Form, record: bytes | None, now_s: float) -> None:
        self._form, self._now_s = form, now_s
        size = form.heads.size + form.counts.size * len(form.windows_s)
        known = record is not None and len(record) == size
        self._data = bytearray(record if known and record else size)
        heads = form.heads.unpack_from(self._data)
        self._slots, self.totals = [], list(heads[3::2])
        for number, (window_s, before) in enumerate(zip(form.windows_s, heads[2::2], strict=True)):
            slot = int(now_s * SLOTS / window_s)
            self._slots.append(slot)
            if slot != before:
                self._advance(number, before, slot)

    def _offset(self, number: int) -> int:
        return self._form.heads.size + self._form.counts.size * number

    def _advance(self, number: int, before: int, slot: int) -> None:
        """Move a window to another slot. When the clock was set back, what is counted moves too, and ages from then.

        So no window of real time has more than its limit, and nobody waits longer than a window.
        """
        at, counts = self._offset(number), self._form.counts
        old = counts.unpack_from(self._data, at)
        steps = max(0, slot - before)
        new = [0] * RING
        for age in range(RING - steps):
            new[(slot - steps - age) % RING] = old[(before - age) % RING]
        counts.pack_into(self._data, at, *new)
        self.totals[number] = sum(new)

    def with_more(self, amount: int) -> bytes:
        """The record with `amount` more in each window. What the bits of a count cannot hold is not counted."""
        form, data, heads = self._form, self._data, []
        for number, (slot, total) in enumerate(zip(self._slots, self.totals, strict=True)):
            more = min(amount, form.most - total)
            at = self._offset(number) + slot % RING * form.one.size
            form.one.pack_into(data, at, form.one.unpack_from(data, at)[0] + more)
            heads += [slot, total + more]
        form.heads.pack_into(data, 0, FORMAT, expires_at(self._now_s + form.lasts_s), *heads)
        return bytes(data)

    def wait_s(self, limits: tuple[Limit, ...], amount: int) -> int:
        """Whole seconds until each window has room for `amount`, or for its whole limit where that is less."""
        wait_s = 1
        for number, (limit, slot) in enumerate(zip(limits, self._slots, strict=True)):
            counts = self._form.counts.unpack_from(self._data, self._offset(number))
            lacks = self.totals[number] + min(amount, limit.amount) - limit.amount
            for old in range(slot - SLOTS, slot + 1):
                if lacks <= 0:
                    break
                lacks -= counts[old % RING]
                wait_s = max(wait_s, ceil((old + RING) * limit.window_s / SLOTS - self._now_s))
        return wait_s


class _Items:
    """What one instance has counted, and for which of its requests (kind `i`).

    Record: the head, what was counted without the ACL holding (u64), then for each item its hash (8 bytes) and whether
    the ACL held (1 byte). It lasts for an hour after the instance's last request, however many others come between: a
    request that Postfix sends again, and the later stages of the message, find themselves and count nothing twice.
    """

    __slots__ = ("_data", "_hash", "_key", "_records", "counted", "held", "is_known")

    def __init__(self, records: Records, key: bytes, item: str) -> None:
        self._records, self._key = records, key
        self._hash = blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest() if item else bytes(8)
        self._data = records.get(key) or bytes(_COUNTED.size)
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
        self._put(self.counted if held else min(self.counted + amount, _COUNTED_MOST), items)

    def _put(self, counted: int, items: bytes) -> None:
        expiry_s = expires_at(self._records.now_s + INSTANCE_S)
        self._records.put(self._key, _COUNTED.pack(FORMAT, expiry_s, counted) + items)
