"""Once a minute the worker of the lowest slot writes what this host runs into the engine, if the store is one.

The answer says how full the engine is, which `status` shows. What fails is no news: the engine is reported as down.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from forkpolicy import __version__
from forkpolicy.redis_urls import parse_url
from forkpolicy.settings import DEFAULT_PATH
from forkpolicy.state.redis.hosts import EVERY_S, Announce, HostReport, encode
from forkpolicy.status import StateFigures

if TYPE_CHECKING:
    from forkpolicy.scoreboard import Scoreboard, Slot
    from forkpolicy.worker.engine import Engine

# A new policy is there for the other hosts at once, but for a table that changes all the time.
_AGAIN_S: Final = 5.0


class Announcer:
    """Of one worker. `figures`: of the engine; None where it has never asked, or had no answer."""

    def __init__(self, engine: Engine, scoreboard: Scoreboard, slot: Slot) -> None:
        self._engine = engine
        self._scoreboard = scoreboard
        self._slot = slot
        self._sent, self._sent_s = "", float("-inf")
        self._policy_of, self._policy = engine.loaded, ""
        self.figures: StateFigures | None = None

    def beat(self) -> None:
        """Write it, if it is time."""
        remote = self._engine.store.remote
        if remote is None:
            self.figures = None
        if remote is None or self._slot.number != self._scoreboard.lowest_serving():
            # What it has heard stays until a lower slot has heard something newer: that is shown first.
            return
        age_s = time.monotonic() - self._sent_s
        if age_s < _AGAIN_S:
            return
        report = encode(self._report())
        if age_s >= EVERY_S or report != self._sent:
            self._sent, self._sent_s = report, time.monotonic()
            remote.begin(Announce(self._host(), report), b"", self._answered)

    def _answered(self, answer: object) -> None:
        # One node says nothing of a cluster.
        is_cluster = parse_url(self._engine.loaded.settings.state.url).form == "cluster"
        self.figures = answer if isinstance(answer, StateFigures) and not is_cluster else None

    def _host(self) -> str:
        """The host's name, and which of its servers it is if that is not the usual one."""
        path = self._engine.loaded.settings.path
        return os.uname().nodename + (f":{path}" if path != DEFAULT_PATH else "")

    def _report(self) -> HostReport:
        loaded, serving = self._engine.loaded, self._engine.serving
        if loaded is not self._policy_of or not self._policy:
            # A long policy takes milliseconds, in which this worker would answer nobody.
            self._policy_of, self._policy = loaded, loaded.policy_version()
        tables = {table.name: table.version for table in loaded.tables.values()}
        return HostReport(__version__, loaded.settings.path, serving.number, self._policy, tables)
