"""Greylisting: a triplet of client network, sender and recipient must be seen again after a delay.

Records (the head, then):

* of a triplet (kind `g`): when it was first seen, and when it last passed (u32 each, whole seconds; 0: never);
* of a network (kind `n`): in how many different hours it has passed (u8), and the last of these hours since 1970 (u32).

Times are whole seconds and the delay is compared with `>=`: some mailers come back a second after five minutes.
A clock that was set back makes nobody wait longer than the delay: what was first seen later than now counts as seen
now.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, ClassVar, Final, Literal, NamedTuple

from forkpolicy.state import keys
from forkpolicy.state.store import FORMAT, HEAD, expires_at

if TYPE_CHECKING:
    from forkpolicy.state.store import Records

Result = Literal["new", "early", "passed", "known", "auto"]
RESULTS: Final[tuple[Result, ...]] = ("new", "early", "passed", "known", "auto")

TRIPLET = Struct(HEAD.format + "II")
_NETWORK = Struct(HEAD.format + "BI")
_HOUR_S = 3600

# BATV (draft-levine-smtp-batv): prvs=TAG=local, and as older mailers write it prvs=local/TAG.
_BATV = re.compile(r"prvs=(?:[0-9a-f]{6,12}=(?P<local>.+)|(?P<old>.+)/[0-9a-f]{6,12})", re.IGNORECASE | re.DOTALL)
_WHOLE_NUMBER = re.compile(r"(?<![^\W_])[0-9]+(?![^\W_])")


class GreylistingAnswer(NamedTuple):
    """Whether the client must wait, how many seconds are left, and why.

    `result`: "new", "early" (seen before, too soon), "passed" (waited long enough), "known" (has passed before), "auto"
    (its network has passed often enough). The first two wait, except in training.
    """

    waits: bool
    left_s: int
    result: Result


@dataclass(frozen=True, slots=True)
class Greylisting:
    """One ACL of type greylisting and one triplet. `sender` is folded by `fold_sender`; `<>` is the null sender.

    `auto`: passes of so many different hours make the whole network pass; 0: never. `training`: nobody
    waits, so what comes for the first time has passed.
    """

    kind: ClassVar[str] = "greylisting"

    acl: str
    network: str
    sender: str
    recipient: str
    delay_s: int
    window_s: int
    keep_s: int
    auto: int
    training: bool = False

    def step(self, records: Records) -> GreylistingAnswer:
        """Remember the triplet, and decide whether it must wait."""
        now_s = int(records.now_s)
        hours = _Hours(records, self, now_s)
        if hours.are_enough:
            hours.keep()
            return GreylistingAnswer(waits=False, left_s=0, result="auto")
        key = keys.make(keys.GREYLISTING, self.acl, (self.network, self.sender, self.recipient))
        seen = self._seen(records.get(key), now_s)
        first_s, passed_s = seen or (now_s, 0)
        left_s = first_s + self.delay_s - now_s
        if passed_s or left_s <= 0 or self.training:
            records.put(key, TRIPLET.pack(FORMAT, expires_at(now_s + self.keep_s + 1), first_s, now_s))
            hours.add()
            return GreylistingAnswer(waits=False, left_s=0, result="known" if passed_s else "passed" if seen else "new")
        if seen is None:
            records.put(key, TRIPLET.pack(FORMAT, expires_at(now_s + self.window_s + 1), now_s, 0))
        return GreylistingAnswer(waits=True, left_s=left_s, result="early" if seen else "new")

    def _seen(self, record: bytes | None, now_s: int) -> tuple[int, int] | None:
        """(when first seen, when last passed or 0) of a record; None where it is as if there were none."""
        if record is None or len(record) != TRIPLET.size:
            return None
        _, _, first_s, passed_s = TRIPLET.unpack(record)
        if passed_s:
            return (first_s, passed_s) if now_s - passed_s <= self.keep_s else None
        return (first_s, 0) if 0 <= now_s - first_s <= self.window_s else None


class _Hours:
    """In how many different hours a network has passed (kind `n`)."""

    __slots__ = ("_hours", "_key", "_last", "_now_s", "_question", "_records")

    def __init__(self, records: Records, question: Greylisting, now_s: int) -> None:
        self._records, self._question, self._now_s = records, question, now_s
        self._hours = self._last = 0
        if not question.auto:
            return
        self._key = keys.make(keys.NETWORK, question.acl, (question.network,))
        record = records.get(self._key)
        if record is not None and len(record) == _NETWORK.size:
            _, _, self._hours, self._last = _NETWORK.unpack(record)

    @property
    def are_enough(self) -> bool:
        return 0 < self._question.auto <= self._hours

    def add(self) -> None:
        """Count a pass, if it is the first of its hour."""
        hour = self._now_s // _HOUR_S
        if self._question.auto:
            if hour != self._last:
                self._hours, self._last = min(self._hours + 1, 255), hour
            self.keep()

    def keep(self) -> None:
        """Begin `keep` anew."""
        expiry_s = expires_at(self._now_s + self._question.keep_s + 1)
        self._records.put(self._key, _NETWORK.pack(FORMAT, expiry_s, self._hours, self._last))


def fold_sender(sender: str, delimiters: str = "+") -> str:
    """The sender as greylisting compares it: without BATV and extension, its whole numbers as `#`; `<>` if it is empty.

    A list that sends each mail from an address of its own (VERP) has so one sender.
    """
    local, at, domain = sender.rpartition("@")
    if not at:
        return sender or "<>"
    if batv := _BATV.fullmatch(local):
        local = batv["local"] or batv["old"]
    for delimiter in delimiters:
        local = local.partition(delimiter)[0] or local
    return f"{_WHOLE_NUMBER.sub('#', local)}@{domain}"


def has_passed(record: bytes) -> bool:
    """Whether a triplet's record shows that it has passed."""
    return len(record) == TRIPLET.size and TRIPLET.unpack(record)[3] != 0


def first_seen_s(record: bytes) -> int:
    """When a triplet was first seen; 0 for what is not a record of one."""
    first_s: int = TRIPLET.unpack(record)[2] if len(record) == TRIPLET.size else 0
    return first_s


def hours_passed(record: bytes) -> int:
    """In how many different hours a network has passed; 0 for what is not a record of one."""
    hours: int = _NETWORK.unpack(record)[2] if len(record) == _NETWORK.size else 0
    return hours
