"""What a worker decides with: the generation that serves, and what outlives it.

Connections call `decide` for each request. It raises nothing but bugs: where an answer takes time it returns WAITS, and
the connection parks the request (waiting.py). reload.py swaps the generation, table_refresh.py the files of its tables.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from forkpolicy.policy.answers import MustWait
from forkpolicy.policy.outcome import WAITS
from forkpolicy.protocol.layout import learnable, wanted_values
from forkpolicy.worker.asked_lists import AskedLists
from forkpolicy.worker.asked_spf import AskedSpf
from forkpolicy.worker.asked_store import AskedStore
from forkpolicy.worker.counters import Counters
from forkpolicy.worker.dns_loop import GeventLoop
from forkpolicy.worker.generation import Generation, Surroundings
from forkpolicy.worker.implementation import CHOSEN
from forkpolicy.worker.names import Names
from forkpolicy.worker.remote_store import remote_store
from forkpolicy.worker.seldom_log import SeldomLog
from forkpolicy.worker.services.asker import AskedServices
from forkpolicy.worker.waiting import Waiting
from forkpolicy.worker.world import World
from forkpolicy.world.dnsbl import Dnsbl
from forkpolicy.world.service import Service
from forkpolicy.world.spf import Spf

if TYPE_CHECKING:
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.outcome import Outcome
    from forkpolicy.protocol.layout import Layout, Values
    from forkpolicy.protocol.request import Request
    from forkpolicy.worker.implementation import Implementation
    from forkpolicy.worker.seldom_log import EventLog
    from forkpolicy.worker.waiting import Parked

# Postfix installations differ, connections of one do not: a handful of layouts is all that a worker meets.
MAX_LAYOUTS = 32


class Engine:
    """Of one worker. `decide` is replaced with the generation, so connections fetch it for each request."""

    def __init__(
        self,
        loaded: Loaded,
        generation: int,
        log: EventLog,
        implementation: Implementation = CHOSEN,
        history: EventLog | None = None,
    ) -> None:
        self.implementation = implementation
        self.store = AskedStore(loaded.store)
        self.world = World()
        self.names = Names()
        self.lists = AskedLists(self.names)
        self.world.askers[Dnsbl.kind] = self.lists
        self.world.askers[Spf.kind] = AskedSpf(self.names)
        self.seldom_log = SeldomLog(log)
        self.counters = Counters()
        self.waiting = Waiting(self.world, self.seldom_log, self.bug)
        self.services = self.world.askers[Service.kind] = AskedServices(GeventLoop, self.seldom_log)
        self._around = Surroundings(log, history, self.seldom_log, self.counters, self.store, self.world)
        self._wait = MustWait()
        self.layouts_epoch = 0
        self.use(loaded, generation)

    def use(self, loaded: Loaded, generation: int) -> None:
        """Serve this generation from now on."""
        self._use_store(loaded)
        self.names.use(loaded.settings.dns)
        self.serving = Generation(loaded, generation, self._around._replace(store=self.store))
        self.loaded, self.policy, self.noted = loaded, self.serving.policy, self.serving.noted
        self._decide = self._decide_or_wait if self.serving.may_wait else self.serving.decide
        self.decide = self._decide
        self.layouts: dict[tuple[str, ...], Layout] = {}
        self.layouts_epoch += 1

    def announce(self) -> None:
        """Log what each generation in use decides with, where that has changed."""
        for generation in self.in_use:
            generation.announce()

    def _use_store(self, loaded: Loaded) -> None:
        """Ask the store of these settings. The previous one is for the requests that it is to answer."""
        state, previous = loaded.settings.state, self.store
        remote = remote_store(state, self._around.log, previous.remote) if loaded.remembers else None
        self.store = AskedStore(loaded.store, remote, previous.took)

    @property
    def in_use(self) -> set[Generation]:
        """The generations that decide something yet: the one that serves, and those of requests that wait."""
        return {self.serving, *self.waiting.generations}

    def _decide_or_wait(self, values: Values) -> Outcome:
        try:
            return self.serving.decide(values)
        except MustWait as wait:
            self._wait = wait.with_traceback(None)
            return WAITS

    def park(self, raw: bytes, values: Values, started_ns: int) -> Parked:
        """The request that `decide` has just returned WAITS for."""
        return self.waiting.parked(self.serving, self._wait, raw, values, started_ns)

    def sample_next(self) -> None:
        """Look closely at the next request; it alone pays for that. Called by the beat."""
        self.decide = self._decide_and_sample

    def _decide_and_sample(self, values: Values) -> Outcome:
        self.decide = self._decide
        self.serving.sampling.look_at(values)
        return self.decide(values)

    def layout_of(self, request: Request) -> Layout | None:
        """The learnt layout for requests like this one."""
        names = request.layout
        if names is None or not learnable(names):
            return None
        if names not in self.layouts:
            if len(self.layouts) >= MAX_LAYOUTS:
                self.layouts.clear()
            self.layouts[names] = self.implementation.layout(names, self.policy.wanted)
        return self.layouts[names]

    def values_of(self, request: Request) -> Values:
        """What the policy reads of a request."""
        return wanted_values(request, self.policy.wanted)

    def bug(self, error: Exception) -> None:
        """Log a bug of ours with its traceback; the request it met is answered with on_error."""
        self.counters.errors += 1
        where = "".join(traceback.format_exception(error))[-2000:]
        self.seldom_log.event("critical", "bug", f"{type(error).__name__}: {error}", traceback=where)
