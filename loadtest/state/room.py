"""How much room records take: triplets and counters of one window, written by questions as a server would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.questions.greylisting import Greylisting
from forkpolicy.state.questions.rate import Limit, Rate
from loadtest.state.cost import fresh_map

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkpolicy.state.store import Question

# More than is expected, so that nothing is evicted.
BYTES_FOR_ONE = 400


@dataclass(frozen=True, slots=True)
class Room:
    """So many records of a kind, and the bytes of pages that they took."""

    kind: str
    entries: int
    used_bytes: int


def room(count: int, directory: Path) -> list[Room]:
    """`count` triplets, then `count` counters in the same map."""
    with fresh_map(directory, max(16 << 20, 2 * count * BYTES_FOR_ONE)) as path:
        live = LiveMap.open(path)
        rooms, before = [], live.describe()
        for kind, questions in (("triplets", _triplets(count)), ("counters of one window", _counters(count))):
            for question in questions:
                live.ask(question)
                live.take_changed()
            after = live.describe()
            rooms.append(Room(kind, after.entries - before.entries, after.used_bytes - before.used_bytes))
            before = after
        live.close()
    return rooms


def _triplets(count: int) -> Iterator[Question[object]]:
    """Networks, senders and recipients as long as those of mail, in an order that is none."""
    for number in range(count):
        mixed = number * 2_654_435_761 % (1 << 32)
        network = f"{mixed >> 24}.{mixed >> 16 & 255}.{mixed >> 8 & 255}.0/24"
        sender, recipient = f"sender{mixed % 100_003}@example.org", f"user{number % 997}@example.com"
        yield Greylisting("grey", network, sender, recipient, 290, 172_800, 3_024_000, 5)


def _counters(count: int) -> Iterator[Question[object]]:
    limits = (Limit(100, 3600),)
    for number in range(count):
        yield Rate("busy", (f"user{number * 2_654_435_761 % (1 << 32)}@example.com",), limits, "messages", 1)
