"""What a policy that remembers must have answered, found out from the whole history of a run: no line of the product is
used here.

Nothing is predicted: clients ask at the same time, and a request counted at some moment between its question and its
reply. So each reply is judged afterwards. It is wrong when no order of such moments allows it. Limits are an exact log
of what passed: no window may certainly have more than its limit, and nothing may wait when a window that is a sixteenth
longer possibly has room, as the manual allows. Greylisting, different values and lists are by the book, too, in whole
seconds.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Whole seconds: a time that is kept may be up to one off.
SECOND_S: Final = 1.0
SLOTS: Final = 16


@dataclass(frozen=True, slots=True)
class Event:
    """A question with a yes or no. It happened at some moment between `asked_s` and `answered_s`, seconds since 1970.

    `value`: what of a key is counted or remembered. `words`: how a wrong one is reported.
    """

    key: str
    value: str
    asked_s: float
    answered_s: float
    holds: bool
    words: str

    def is_after(self, other: Event) -> bool:
        """Certainly."""
        return other.answered_s <= self.asked_s

    def may_be_after(self, other: Event) -> bool:
        """Possibly."""
        return other is not self and other.asked_s <= self.answered_s


def wrong_limits(events: Iterable[Event], limits: Sequence[tuple[int, float]]) -> Iterator[str]:
    """Of a rate of messages: `value` is the message; `limits` are (how many, window in seconds)."""
    for of_key in _by_key(events).values():
        passes = _first_passes(of_key)
        counted = sorted(passes.values(), key=lambda each: each.asked_s)
        for limit, window_s in limits:
            yield from _too_many(counted, limit, window_s)
        for event in of_key:
            if not event.holds:
                continue
            first = passes.get(event.value)
            if first and event.is_after(first):
                yield f"{event.words}: it had passed before"
            elif all(_may_have(event, counted, window_s) < limit for limit, window_s in limits):
                yield f"{event.words}: there was room in every window"


def wrong_values(events: Iterable[Event], most: int, window_s: float) -> Iterator[str]:
    """Of different values: it holds when `value` makes more than `most` in the window, and counts whether it holds."""
    for of_key in _by_key(events).values():
        for event in of_key:
            certain = {
                each.value
                for each in of_key
                if event.is_after(each) and each.asked_s > event.answered_s - window_s + SECOND_S
            }
            possible = {
                each.value
                for each in of_key
                if event.may_be_after(each) and each.answered_s > event.asked_s - window_s - SECOND_S
            }
            if not event.holds and len(certain | {event.value}) > most:
                yield f"{event.words}: it is one of {len(certain | {event.value})} different ones"
            if event.holds and len(possible | {event.value}) <= most:
                yield f"{event.words}: there were {len(possible | {event.value})} different ones"


def wrong_greylisting(events: Iterable[Event], delay_s: int, window_s: int) -> Iterator[str]:
    """Of triplets as keys: it waits for `delay_s` from the first time; unpassed for `window_s`, it is new."""
    for of_key in _by_key(events).values():
        of_key.sort(key=lambda each: each.asked_s)
        # When it was seen first, at the earliest and at the latest.
        early_s, late_s = of_key[0].asked_s, of_key[0].answered_s
        for event in of_key:
            before = [each for each in of_key if event.may_be_after(each)]
            least_s, most_s = int(event.asked_s) - int(late_s), int(event.answered_s) - int(early_s)
            has_passed = any(not each.holds and event.is_after(each) for each in before)
            if event.holds and has_passed:
                yield f"{event.words}: it had passed before"
            elif not event.holds and not before:
                yield f"{event.words}: nobody had seen it"
            elif any(not each.holds for each in before):
                continue
            elif event.holds and delay_s <= least_s and most_s <= window_s:
                yield f"{event.words}: seen {least_s} s before at least"
            elif not event.holds and (most_s < delay_s or least_s > window_s):
                yield f"{event.words}: seen {most_s} s before at most, or {least_s} at least"
            if least_s > window_s:
                early_s = event.asked_s
            if most_s > window_s:
                late_s = event.answered_s


def wrong_lists(events: Iterable[Event], remembered: Iterable[Event], duration_s: float) -> Iterator[str]:
    """Of a list: it holds for `duration_s` from the last time that the key was remembered, also within a request."""
    put = _by_key(remembered)
    for event in events:
        own = [each for each in put[event.key] if each.words == event.words]
        certain = own or [
            each
            for each in put[event.key]
            if event.is_after(each) and event.answered_s < each.asked_s + duration_s - SECOND_S
        ]
        possible = own or [
            each
            for each in put[event.key]
            if event.may_be_after(each) and event.asked_s < each.answered_s + duration_s + SECOND_S
        ]
        if certain and not event.holds:
            yield f"{event.words}: it was on the list"
        if not possible and event.holds:
            yield f"{event.words}: it was not on the list"


def triplet(client: str, sender: str, recipient: str) -> str:
    """The key of greylisting: networks of /24 and /64, the sender without what changes from mail to mail."""
    address = ipaddress.ip_address(client)
    network = ipaddress.ip_network((client, 24 if address.version == 4 else 64), strict=False)
    return f"{network} {_folded(sender.lower()) or '<>'} {recipient.lower()}"


def _folded(sender: str) -> str:
    local, at, domain = sender.rpartition("@")
    local = re.sub(r"^prvs=[0-9a-f]{6,12}=", "", local).partition("+")[0]
    pieces = re.split(r"([^0-9a-z]+)", local)
    return "".join("#" if piece.isdigit() else piece for piece in pieces) + at + domain


def _by_key(events: Iterable[Event]) -> defaultdict[str, list[Event]]:
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for each in events:
        found[each.key].append(each)
    return found


def _first_passes(events: Iterable[Event]) -> dict[str, Event]:
    """By message: the request that counted."""
    found: dict[str, Event] = {}
    for each in sorted(events, key=lambda each: each.answered_s):
        if not each.holds:
            found.setdefault(each.value, each)
    return found


def _too_many(counted: Sequence[Event], limit: int, window_s: float) -> Iterator[str]:
    """Windows that certainly have more than their limit: they begin as one was asked, and all were answered in them."""
    for number, first in enumerate(counted):
        within = [each for each in counted[number:] if each.answered_s < first.asked_s + window_s]
        if len(within) > limit:
            yield f"{within[-1].words}: {len(within)} passed within {window_s:g} s, and {limit} may"
            return


def _may_have(event: Event, counted: Iterable[Event], window_s: float) -> int:
    """How many possibly stood in the window, which may be a sixteenth longer."""
    longest_s = window_s * (SLOTS + 1) / SLOTS
    return sum(event.may_be_after(each) and each.answered_s > event.asked_s - longest_s for each in counted)
