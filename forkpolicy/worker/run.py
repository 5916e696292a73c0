"""A worker's life: from the fork to its last connection. The only place where the worker's parts are put together.

After the fork: signals, tables, counters, the link to the master, then accepting. It ends when the master wants it
(stop, or retire: hand every connection over to siblings first), when the master dies (the end of the link), by a signal
TERM, which is the operator's way to retire it, or when it is to be recycled (max_requests, max_memory). Everything
waits in one gevent loop; the beat of that loop is the proof of life.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

import gevent

from forkpolicy.messages import (
    Abort,
    Commit,
    Committed,
    Hurry,
    Prepare,
    Prepared,
    ProbedZones,
    ProbeZones,
    Ready,
    Retire,
    Retiring,
    ServedTable,
    StateChanged,
    Stop,
    SwitchZones,
    Unfit,
    ZoneRefuses,
)
from forkpolicy.scoreboard import STAYING
from forkpolicy.status import WorkerState
from forkpolicy.worker.accept import Acceptor, HandoverReceiver
from forkpolicy.worker.balance import Balance
from forkpolicy.worker.connections import Connections
from forkpolicy.worker.engine import Engine
from forkpolicy.worker.flusher import Flusher
from forkpolicy.worker.master_link import MasterLink
from forkpolicy.worker.recycling import Recycling
from forkpolicy.worker.reload import WorkerReload
from forkpolicy.worker.shutdown import Shutdown
from forkpolicy.worker.state_upkeep import StateUpkeep
from forkpolicy.worker.table_refresh import TableRefresh

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping

    from forkpolicy.loading import Loaded
    from forkpolicy.log import LogPipe
    from forkpolicy.messages import ToWorker
    from forkpolicy.scoreboard import Scoreboard
    from forkpolicy.status import ZoneTest
    from forkpolicy.worker.handover import HandoverChannel, Pair

BEAT_S = 0.5


class WorkerProcess:
    """One worker. `listeners`, `handover_pairs`, `changed_keys` and `scoreboard` are shared with its siblings.
    `good_tables`: the last good file of each table; `zones_off`: DNS lists that are off, and why; `needs_all_tables`:
    it ends, and reports why, if it cannot open all of them.
    """

    def __init__(
        self,
        loaded: Loaded,
        generation: int,
        slot_number: int,
        listeners: Iterable[socket.socket],
        master: socket.socket,
        handover_pairs: tuple[Pair, Pair],
        scoreboard: Scoreboard,
        changed_keys: socket.socket,
        log: LogPipe,
        history: LogPipe | None,
        good_tables: Mapping[str, int],
        zones_off: Mapping[str, str],
        *,
        needs_all_tables: bool,
    ) -> None:
        self.log = log
        self.engine = Engine(loaded, generation, log, history=history)
        self.engine.lists.switch(zones_off)
        self.engine.lists.on_error = lambda zone, why: self.master_link.report(ZoneRefuses(zone, why))
        self.slot = scoreboard.slot(slot_number)
        self.tables = TableRefresh(self.engine, log)
        self.upkeep = StateUpkeep(self.engine, changed_keys, scoreboard, self.slot)
        self.reload = WorkerReload(self.engine)
        self.recycling = Recycling(slot_number)
        self.master_link = MasterLink(master, self._handle_message)
        self.connections = Connections(self.engine, self.slot, handover_pairs)
        self.balance = Balance(scoreboard, self.slot, self.connections.give)
        self._acceptors = [self._acceptor(listener) for listener in listeners]
        self._receivers = [
            self._receiver(self.connections.handover, self.balance.has_its_connections),
            self._receiver(self.connections.hot_handover, self.balance.has_its_load),
        ]
        self.shutdown = Shutdown(
            self.connections, self.engine.waiting, self._acceptors, self._receivers, scoreboard, self.slot
        )
        self._good_tables, self._needs_all_tables = good_tables, needs_all_tables
        self._passed_tables: dict[str, tuple[int, ...]] = {}
        self._reported_state = WorkerState()
        hub = gevent.get_hub()
        # Where a watcher's callback raises: into the log, and on, since the next request is none of its business.
        hub.print_exception = self._bug  # type: ignore[method-assign,assignment]  # its hook
        self._beat_timer = hub.loop.timer(0.0, BEAT_S)
        self._term_watcher = hub.loop.signal(signal.SIGTERM)

    def run(self) -> None:
        """Serve until it is over."""
        # Descriptor 2, whatever Python thinks of sys.stderr: the master reads it.
        faulthandler.enable(file=2, all_threads=True)
        faulthandler.register(signal.SIGQUIT, file=2, all_threads=True)
        # What was loaded before the fork is never garbage here: leave it out of every collection, and shared.
        gc.freeze()
        missing = self.tables.open(self._good_tables)
        if missing and self._needs_all_tables:
            self.master_link.report(Unfit("; ".join(missing)))
            return
        self.upkeep.start()
        self.flusher = Flusher(self.engine, self.slot)
        self.slot["connections"] = self.slot["load"] = 0
        self.slot["pid"] = os.getpid()
        self.slot["started_ns"] = time.monotonic_ns()
        self.master_link.start()
        self._beat_timer.start(self._beat)
        self._term_watcher.start(self._terminated)
        # Blocked since before the fork: one that came earlier would have killed this worker.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self.slot["serving"] = STAYING
        entrances: list[Acceptor | HandoverReceiver] = [*self._acceptors, *self._receivers]
        for entrance in entrances:
            entrance.start()
        self._pass_tables()
        self.master_link.report(Ready(self._state()))
        self.shutdown.done.wait()
        self.flusher.flush()
        self.upkeep.finish()

    def _bug(self, _context: object, _kind: object, error: BaseException | str | None, _trace: object) -> None:
        if isinstance(error, Exception):
            self.engine.bug(error)

    def _acceptor(self, listener: socket.socket) -> Acceptor:
        held, has_its_share = self.connections, self.balance.has_its_share
        return Acceptor(listener, held.accepted, has_its_share, held.has_room, held.accept_failed)

    def _receiver(self, channel: HandoverChannel, has_its_share: Callable[[], bool]) -> HandoverReceiver:
        def take() -> bool:
            handover = self.connections.take(channel)
            if handover:
                self.balance.took(handover.load)
            return handover is not None

        return HandoverReceiver(channel.fileno(), take, has_its_share, self.connections.has_descriptors)

    def _handle_message(self, message: ToWorker) -> None:
        match message:
            case Prepare(generation, snapshot):
                self.master_link.report(Prepared(generation, tuple(self.reload.prepare(snapshot))))
            case Commit(generation):
                self._commit(generation)
            case Abort():
                self.reload.abort()
            case ProbeZones():
                self._test_zones()
            case SwitchZones(off):
                self.engine.lists.switch(off)
            case Retire(others_wait):
                self.shutdown.retire(others_wait=others_wait)
            case Hurry():
                self.shutdown.hurry()
            case Stop(drain):
                self.shutdown.stop(drain=drain)
            case _:
                assert_never(message)

    def _test_zones(self) -> None:
        def report(tests: list[ZoneTest]) -> None:
            self.master_link.report(ProbedZones(tuple(tests)))

        if zones := self.engine.policy.model.zones:
            self.engine.lists.test(zones, report)
        else:
            report([])

    def _commit(self, generation: int) -> None:
        self.flusher.flush()
        self.reload.commit(generation)
        self.upkeep.beat()
        # Until then the scoreboard has the hits of the previous rules, which `status` would show at the new ones.
        self.flusher.flush()
        self._pass_tables()
        self.master_link.report(Committed(generation, self._state()))

    def _pass_tables(self) -> None:
        """Pass the master the file of each table that we serve, for workers that are started when it is gone."""
        for table in self.engine.loaded.tables.values():
            if table.table and self._passed_tables.get(table.path) != table.table.identity:
                self._passed_tables[table.path] = table.table.identity
                self.master_link.report(ServedTable(table.path), table.table.fd)

    def _state(self) -> WorkerState:
        self._reported_state = self._state_now()
        return self._reported_state

    def _state_now(self) -> WorkerState:
        engine = self.engine
        asked, lists, services = self.upkeep.describe(), engine.lists.counts(), engine.services.counts()
        return replace(engine.serving.describe(), asked=asked, lists=lists, services=services)

    def _beat(self) -> None:
        self.slot["beat_ns"] = time.monotonic_ns()
        self.flusher.flush()
        self.tables.refresh()
        self.upkeep.beat()
        self.engine.sample_next()
        if not self.shutdown.begun:
            self.balance.beat(self.connections.held)
            self._recycle()
        self._pass_tables()
        if self._reported_state != self._state_now():
            self.master_link.report(StateChanged(self._state()))
        else:
            self.master_link.flush()

    def _terminated(self) -> None:
        self._retire_because("signal TERM")

    def _recycle(self) -> None:
        reason = self.recycling.reason_to_retire(self.engine.loaded.settings.server, self.engine.counters.requests)
        if reason:
            self._retire_because(reason)

    def _retire_because(self, reason: str) -> None:
        if not self.shutdown.begun:
            self.master_link.report(Retiring(reason))
            gevent.spawn(self.shutdown.retire)
