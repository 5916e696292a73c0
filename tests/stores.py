"""Stores on a clock that tests set, and questions with the fields that a test does not care for."""

from __future__ import annotations

from forkpolicy.state import map_file
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.memory import MemoryStore
from forkpolicy.state.questions.distinct import Distinct
from forkpolicy.state.questions.greylisting import Greylisting
from forkpolicy.state.questions.rate import Limit, Rate
from tests.redis_servers import clocked_store

# A Saturday in November 2026, at the beginning of an hour.
START_S = 1_795_870_800.0
MIB = 1 << 20
STORES = ("memory", "live map", "engine")


class Clock:
    """Seconds since 1970, as a test sets them."""

    def __init__(self, now_s=START_S):
        self.now_s = now_s

    def __call__(self):
        return self.now_s

    def wait(self, seconds):
        self.now_s += seconds

    def at(self, seconds):
        """So many seconds after the start."""
        self.now_s = START_S + seconds


def make_store(kind, clock, directory, max_bytes=4 * MIB):
    """A store of one of STORES."""
    match kind:
        case "memory":
            return MemoryStore(clock)
        case "live map":
            return make_map(directory, clock, max_bytes)
        case _:
            return clocked_store(clock)


def make_map(directory, clock, max_bytes=4 * MIB):
    """A new, complete and open live map."""
    map_file.make(str(directory), max_bytes)
    map_file.complete(str(directory))
    return LiveMap.open(str(directory), clock=clock)


def rate(*limits, amount=1, key=("a@example.com",), counting="requests", **more):
    """A rate question: `rate((100, 3600), (500, 86400))`."""
    return Rate("busy", key, tuple(Limit(*limit) for limit in limits), counting, amount, **more)


def greylisting(network="192.0.2.0/24", sender="anna@example.org", recipient="bert@example.com", **more):
    """A greylisting question with the contract's defaults."""
    times = {"delay_s": 290, "window_s": 2 * 86400, "keep_s": 35 * 86400, "auto": 5} | more
    return Greylisting("grey", network, sender, recipient, **times)


def distinct(value, most=2, window_s=3600, key=("a@example.com",)):
    """A question about different values."""
    return Distinct("places", key, value, most, window_s)
