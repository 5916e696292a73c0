"""How often somebody may try a password: 5 failures in 5 minutes for one account from one network, 50 from one network.

An account alone is never locked, or strangers could lock its owner out: where many networks fail at it, further tries
have to wait for each other, except from where it was signed in to before. Names that have no account are counted alike.
In memory, of bounded size, gone with the process.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from forkpolicy.console.access.networks import network_of
from forkpolicy.console.errors import TooMany

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S: Final = 300.0
OF_PAIR: Final = 5
OF_NETWORK: Final = 50
OF_ACCOUNT: Final = 20
SLOW_S: Final = 5.0
MOST_KEYS: Final = 10_000

Key = TypeVar("Key")


class Tries:
    """Tries that were begun; each counts as a failure until it has succeeded, so that many at once are many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._pairs: _Counts[tuple[str, str]] = _Counts(OF_PAIR)
        self._networks: _Counts[str] = _Counts(OF_NETWORK)
        self._accounts: _Counts[str] = _Counts(OF_ACCOUNT)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def begin(self, name: str, client: str) -> float:
        """A try, by a folded name and from an address; what `succeeded` wants. Raises TooMany."""
        network = network_of(client)
        with self._lock:
            now_s = self._clock()
            wait_s = max(self._pairs.wait_s((name, network), now_s), self._networks.wait_s(network, now_s))
            if (name, network) not in self._known:
                wait_s = max(wait_s, self._accounts.slow_s(name, now_s))
            if wait_s > 0:
                raise TooMany(f"Too many tries with a wrong name or password: try again in {math.ceil(wait_s)} s.")
            self._pairs.add((name, network), now_s)
            self._networks.add(network, now_s)
            self._accounts.add(name, now_s)
        return now_s

    def take_back(self, name: str, client: str, begun_s: float) -> None:
        """It was not tried after all."""
        network = network_of(client)
        with self._lock:
            self._pairs.take_back((name, network), begun_s)
            self._networks.take_back(network, begun_s)
            self._accounts.take_back(name, begun_s)

    def succeeded(self, name: str, client: str, begun_s: float) -> None:
        """It was no failure; those of this account from there are forgotten, too."""
        self.take_back(name, client, begun_s)
        network = network_of(client)
        with self._lock:
            self._pairs.forget((name, network))
            self._known[(name, network)] = None
            self._known.move_to_end((name, network))
            if len(self._known) > MOST_KEYS:
                self._known.popitem(last=False)


class _Counts(Generic[Key]):
    """The last `most` times of each key, for as many keys as were used last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: OrderedDict[Key, list[float]] = OrderedDict()

    def wait_s(self, key: Key, now_s: float) -> float:
        """How long until there is room for one more within the window; at most 0: there is."""
        times = self._times.get(key, [])
        return times[0] + WINDOW_S - now_s if len(times) == self._most else 0.0

    def slow_s(self, key: Key, now_s: float) -> float:
        """How long until the next one, where one comes after another instead."""
        return self._times[key][-1] + SLOW_S - now_s if self.wait_s(key, now_s) > 0 else 0.0

    def add(self, key: Key, now_s: float) -> None:
        """One more."""
        times = self._times.setdefault(key, [])
        times.append(now_s)
        del times[: -self._most]
        self._times.move_to_end(key)
        if len(self._times) > MOST_KEYS:
            self._times.popitem(last=False)

    def take_back(self, key: Key, at_s: float) -> None:
        """That one was none."""
        with suppress(KeyError, ValueError):
            self._times[key].remove(at_s)

    def forget(self, key: Key) -> None:
        """All of a key."""
        self._times.pop(key, None)
