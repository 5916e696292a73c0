"""A worker's part in what the policy remembers, next to its questions: it opens the shared map after the fork, sends
the state process the keys that have changed, and frees what killed readers have left. The worker of the lowest slot
also deletes what has expired.

While the map cannot be opened every question fails, and each beat tries again. Raises nothing: what fails is logged
once a minute.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import gevent

from forkpolicy.errors import StateError
from forkpolicy.state.changed_keys import send
from forkpolicy.status import AskedStatus
from forkpolicy.worker.announcing import Announcer

if TYPE_CHECKING:
    import socket

    from forkpolicy.scoreboard import Scoreboard, Slot
    from forkpolicy.worker.engine import Engine

# A hundred records each: two million in half an hour.
SWEEP_S = 0.1
# What the state process does not take for so long waits for its pass over everything.
MOST_UNSENT = 1_000_000


class StateUpkeep:
    """Of one worker, whatever generation it serves."""

    def __init__(self, engine: Engine, changed_keys: socket.socket, scoreboard: Scoreboard, slot: Slot) -> None:
        self._engine = engine
        self._live = engine.store.live
        self._changed_keys = changed_keys
        self._scoreboard = scoreboard
        self._slot = slot
        self._unsent: set[bytes] = set()
        self._lost = 0
        self._counted: Counter[str] = Counter()
        self._counting = engine.policy
        self._announcer = Announcer(engine, scoreboard, slot)
        self._sweep_timer = gevent.get_hub().loop.timer(SWEEP_S, SWEEP_S)

    def start(self) -> None:
        """Open the map after the fork, where the policy remembers anything."""
        self._sweep_timer.start(self._sweep)
        self.beat()

    def beat(self) -> None:
        """Every beat of the worker's loop: the map is open while the policy remembers, and what changes is sent. In an
        engine stands what this host runs.
        """
        self._announcer.beat()
        try:
            if not any(each.loaded.remembers for each in self._engine.in_use):
                self._send()
                self._live.close()
            elif not self._live.refresh():
                self._report(self._live.refused)
            else:
                self._send()
        except StateError as error:
            self._report(str(error))

    def finish(self) -> None:
        """Send what has changed last: the worker ends."""
        self._send()

    def _send(self) -> None:
        if self._live.live_map:
            self._unsent |= self._live.live_map.take_changed()
        send(self._changed_keys, self._unsent)
        if len(self._unsent) > MOST_UNSENT:
            self._lost += len(self._unsent)
            self._unsent.clear()

    def _sweep(self) -> None:
        """Delete some of what has expired, if no other worker does. What the state process had no room for is sent
        now: a socket takes some thousand keys, and a busy worker changes more in a beat.
        """
        send(self._changed_keys, self._unsent)
        if self._live.live_map is None or self._slot.number != self._scoreboard.lowest_serving():
            return
        try:
            self._live.live_map.sweep()
        except StateError as error:
            self._report(str(error))

    def _report(self, reason: str) -> None:
        self._engine.seldom_log.event("error", "state failed", reason)

    def describe(self) -> AskedStatus | None:
        """What was asked; None where the policy that serves asks nobody."""
        policy = self._engine.policy
        if policy is not self._counting:
            self._counted.update(_by_name(self._counting.answered))
            self._counting = policy
        answered = dict(self._counted + _by_name(policy.answered))
        if not self._engine.loaded.remembers:
            return AskedStatus(answered) if policy.asks_world else None
        live_map, store = self._live.live_map, self._engine.store
        return AskedStatus(
            answered=answered,
            seconds=store.took.busy_ns / 1e9,
            times=tuple(store.took.times),
            unsent=len(self._unsent),
            lost=self._lost + (live_map.changes_dropped if live_map else 0),
            evicted=live_map.describe().evicted if live_map else 0,
            engine=self._announcer.figures,
            is_up=store.remote.is_up if store.remote else True,
        )


def _by_name(answered: Counter[tuple[str, str, str]]) -> Counter[str]:
    return Counter({" ".join(each): count for each, count in answered.items()})
