"""Which connections a worker gives away so that all workers have as many connections, and as much to do.

Connections live for hours, so neither fairness at accept nor luck lasts: traffic moves, workers come and go. A look at
the scoreboard with every beat shows which workers are above the mean; those give away. Looks at plain numbers and
moves nothing itself: `give` does.

A worker's load is the time it spends on requests; a connection's load is its share of the worker's requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from forkpolicy.scoreboard import Scoreboard, Slot
    from forkpolicy.worker.connection import Connection

# Above this much of the mean a worker gives away; the goal is that none is above 1.2.
TOLERATED = 1.1
# Less than half a percent of a core is not worth a move.
WORTH_MOVING_PPM = 5_000
# A worker that has given or taken load waits until the numbers show it, lest it overshoots; and one beat above the mean
# is chance.
SETTLING_BEATS = 3
BEATS_ABOVE = 2
MOVES_A_BEAT = 64
# A connection that carries less than this share of what the heaviest one does is not what makes a surplus.
WORTH_A_MOVE = 0.1
# What a worker may have above the mean before it leaves a new connection to its siblings. With no slack at all,
# clients that connect for each request crawl at 2,000 a second (measured).
SLACK_CONNECTIONS = 2
SLACK_SHARE = 0.05


class Balance:
    """One worker's view. `slot` is its own; `give(connection, load, hot)` returns whether it went."""

    def __init__(self, scoreboard: Scoreboard, slot: Slot, give: Callable[[Connection, int, bool], bool]) -> None:
        self._scoreboard = scoreboard
        self._slot = slot
        self._give = give
        self._requests: dict[Connection, int] = {}
        self._settling = 0
        self._beats_above = 0

    def has_its_share(self) -> bool:
        """Whether a new connection is better left to a sibling."""
        shares = self._scoreboard.shares()
        if len(shares) < 2:
            return False
        mean = sum(connections for connections, _ in shares) / len(shares)
        return self._slot["connections"] > mean * (1 + SLACK_SHARE) + SLACK_CONNECTIONS

    def has_its_connections(self) -> bool:
        """Whether a connection that a sibling gave away is better left to another."""
        shares = self._scoreboard.shares()
        # Not the mean: where all have as many, each would leave it to the others.
        return len(shares) > 1 and self._slot["connections"] > min(count for count, _ in shares)

    def has_its_load(self) -> bool:
        """Whether traffic that a sibling gave away is better left to another."""
        shares = self._scoreboard.shares()
        return len(shares) > 1 and self._slot["load"] > min(load for _, load in shares)

    def took(self, load: int) -> None:
        """Note the load of a connection that was taken over: the next ones are for workers that have less."""
        self._slot["load"] += load
        if load:
            self._settling = SETTLING_BEATS

    def beat(self, connections: Collection[Connection]) -> None:
        """Give away what is above the mean."""
        before, self._requests = self._requests, {each: each.requests for each in connections}
        shares = self._scoreboard.shares()
        if len(shares) < 2:
            return
        recent = {each: count - before.get(each, 0) for each, count in self._requests.items()}
        if self._settling:
            self._settling -= 1
        else:
            self._share_load(recent, [load for _, load in shares])
        # The traffic of a connection that has just come is unknown.
        known = {each: count for each, count in recent.items() if each in before}
        self._share_connections(known, [count for count, _ in shares])

    def _share_load(self, recent: dict[Connection, int], loads: list[int]) -> None:
        load, mean, total = self._slot["load"], sum(loads) / len(loads), sum(recent.values())
        surplus = load - mean
        if not total or load < mean * TOLERATED or surplus < WORTH_MOVING_PPM:
            self._beats_above = 0
            return
        self._beats_above += 1
        if self._beats_above < BEATS_ABOVE:
            return
        weights = {each: int(load * count / total) for each, count in recent.items() if count}
        for each in self._to_move(weights, surplus, load - min(loads)):
            if self._give(each, weights[each], True):
                self._slot["load"] = max(0, self._slot["load"] - weights[each])
                self._settling = SETTLING_BEATS

    def _to_move(self, weights: dict[Connection, int], surplus: float, widest: int) -> list[Connection]:
        """The heaviest connections that together do not exceed the surplus; where they are little of it, the lightest
        of those that are more and still help.
        """
        chosen: list[Connection] = []
        left = surplus
        least = max(weights.values(), default=0) * WORTH_A_MOVE
        heavy = [each for each in weights if weights[each] >= least]
        for each in sorted(heavy, key=weights.__getitem__, reverse=True):
            if weights[each] <= left and len(chosen) < MOVES_A_BEAT:
                left -= weights[each]
                chosen.append(each)
        if left <= surplus / 2:
            return chosen
        # Moving more than the surplus helps while the idlest ends below what we have now.
        helping = [each for each in heavy if surplus < weights[each] < widest * 0.9]
        return [min(helping, key=weights.__getitem__)] if helping else chosen

    def _share_connections(self, recent: dict[Connection, int], counts: list[int]) -> None:
        mean = sum(counts) / len(counts)
        excess = self._slot["connections"] - mean
        if excess < max(1.0, mean * (TOLERATED - 1)):
            return
        idlest = sorted((each for each in recent if not each.closed), key=recent.__getitem__)
        for each in idlest[: min(int(excess), MOVES_A_BEAT)]:
            self._give(each, 0, False)
