"""The composition root: puts settings, master, workers and compiler together, and runs the master.

The only module that knows all of them: the master knows what it is given here (`load`, `program`, the sockets) and
nothing else. Imported by `forkpolicy serve` alone, since it imports nearly everything. Raises ConfigError and
CannotWriteError where something keeps the server from starting.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from forkpolicy import engine_checks
from forkpolicy.asked_servers import asked_servers
from forkpolicy.errors import ConfigError
from forkpolicy.loading import Loaded, load_everything
from forkpolicy.master.processes.exporter import Exporter
from forkpolicy.master.processes.helper_process import HelperProcess
from forkpolicy.master.processes.logger import Logger
from forkpolicy.master.processes.state_process import StateProgram
from forkpolicy.master.processes.targets import open_target
from forkpolicy.master.sockets.configured import open_sockets
from forkpolicy.master.sockets.inherited import inherited_sockets
from forkpolicy.master.sockets.listener import is_activated
from forkpolicy.master.state_keeper import StateKeeper
from forkpolicy.master.state_lock import StateLock
from forkpolicy.master.supervisor import Master
from forkpolicy.master.workers import WorkerProgram
from forkpolicy.outlines import LoadedElsewhere, outline_of
from forkpolicy.preflight import Start, find_obstacles, find_remarks, log_target, worker_identity
from forkpolicy.process import leave_no_core, raise_descriptor_limit
from forkpolicy.redis_urls import is_redis_url
from forkpolicy.scoreboard import Scoreboard
from forkpolicy.settings import absolute
from forkpolicy.starting import load_again, load_at_start
from forkpolicy.state.changed_keys import make_pair
from forkpolicy.state.keeper import keep
from forkpolicy.state.lock_holder import lock_holder
from forkpolicy.state.redis.access import missing_packages
from forkpolicy.state_places import make_directories
from forkpolicy.worker.handover import HANDOVER_VERSION, make_handover_pairs
from forkpolicy.worker.implementation import CHOSEN
from forkpolicy.worker.preload import preload
from forkpolicy.worker.run import WorkerProcess

if TYPE_CHECKING:
    import socket

    from forkpolicy.log import LogPipe
    from forkpolicy.master.generation import Generation
    from forkpolicy.master.sockets.inherited import InheritedSockets
    from forkpolicy.process import Identity
    from forkpolicy.settings import Settings

WATCHED_BY = "with systemd forkpolicy-networks.service compiles them (forkpolicy-compile --watch-interfaces, as root)"


def serve(settings_path: str) -> int:
    """Load everything, open what only the master may open, and run it; its exit status."""
    inherited = inherited_sockets(HANDOVER_VERSION)
    # From here on no path depends on the working directory, which may be gone at the next reload or upgrade.
    path = inherited.settings_path if inherited and inherited.settings_path else absolute(settings_path)
    loaded = load_at_start(path)
    start = _planned_start(loaded, activated=inherited.activated if inherited else is_activated())
    remarks, obstacles = find_remarks(start), find_obstacles(start)
    if loaded.remembers:
        remarks += engine_checks.find_remarks(loaded.settings)
        obstacles += engine_checks.find_obstacles(loaded.settings)
    for warning in (*loaded.warnings, *remarks):
        print(warning, file=sys.stderr)
    if obstacles:
        raise ConfigError(obstacles)
    loaded.prepare()
    preload(engine=is_redis_url(loaded.settings.state.url) and not missing_packages())
    raise_descriptor_limit()
    leave_no_core()
    return _master(loaded, path, inherited).run()


def _planned_start(loaded: Loaded, *, activated: bool) -> Start:
    servers = asked_servers(loaded.settings, loaded.policy.model)
    return Start(loaded.settings, loaded.table_paths, activated, loaded.remembers, servers, is_ours=True)


def _master(loaded: Loaded, path: str, inherited: InheritedSockets | None) -> Master:
    """Every part of the master, its logger running. `inherited`: what the master that we replace has passed."""
    settings = loaded.settings
    identity = worker_identity(settings)
    target = open_target(log_target(settings))
    # Before there is a socket: a logger that outlives a killed master must not keep one listening.
    logger = Logger(target, settings.log.format, "log", identity)
    loggers = [logger, *_history_logger(settings, identity)]
    for each in loggers:
        each.start()
    history = loggers[1].pipe if len(loggers) > 1 else None
    changed_keys = make_pair()
    keeper = _state_keeper(settings, changed_keys[0], logger.pipe, identity, inherited)
    if loaded.remembers:
        keeper.start_first()
    sockets, control = open_sockets(settings, inherited, HANDOVER_VERSION, make_handover_pairs)
    exporter = Exporter(sockets.metrics, identity, "forkpolicy: metrics") if sockets.metrics else None
    watcher = _watcher(settings, logger.pipe) if settings.watch_interfaces else None
    scoreboard = Scoreboard()
    setproctitle(f"forkpolicy: master {settings.path}")
    return Master(
        loaded,
        lambda reading: outline_of(load_again(path, reading)),
        lambda outline: LoadedElsewhere.of(path, outline),
        _worker_program(loaded, path, sockets, scoreboard, changed_keys[1], logger.pipe, history, identity),
        sockets,
        control,
        loggers,
        scoreboard,
        keeper,
        lambda: lock_holder(settings.state.live),
        exporter,
        inherited,
        watcher,
    )


def _history_logger(settings: Settings, identity: Identity | None) -> list[Logger]:
    """That of `[history]`, if there is one."""
    if not settings.history.log:
        return []
    return [Logger(open_target(settings.history.log), "json", "history", identity, signs=True)]


def _state_keeper(
    settings: Settings,
    changed_keys: socket.socket,
    pipe: LogPipe,
    identity: Identity | None,
    inherited: InheritedSockets | None,
) -> StateKeeper:
    """What has the state process, once the policy remembers. In an upgrade that process waits for the previous one."""
    state = settings.state

    def run(master: socket.socket) -> None:
        log = pipe.named(process="state", pid=os.getpid())
        keep(state, master, changed_keys, log, takes_over=inherited is not None)

    program = StateProgram(lambda: make_directories(state, identity), run, (changed_keys.fileno(), *pipe.fds), identity)
    lock = StateLock(settings, inherited.state_lock if inherited else -1)
    return StateKeeper(program, lock, state, pipe.named(process="master", pid=os.getpid()))


def _worker_program(
    first: Loaded,
    path: str,
    sockets: InheritedSockets,
    scoreboard: Scoreboard,
    changed_keys: socket.socket,
    pipe: LogPipe,
    history: LogPipe | None,
    identity: Identity | None,
) -> WorkerProgram:
    """What a worker's process runs: `run` is called in it, after the fork."""
    handover_pairs = sockets.pairs[0], sockets.pairs[1]
    listening = [each.sock for each in sockets.listeners]
    fds = (*pipe.fds, *(history.fds if history else ()))
    shared = (*listening, changed_keys, *(sock for pair in handover_pairs for sock in pair))

    def run(generation: Generation, slot: int, master: socket.socket) -> None:
        # What the start has loaded is in memory, and shared; after a reload it is loaded from the bytes of its files.
        known = generation.loaded
        loaded = known if isinstance(known, Loaded) else load_everything(path, known.snapshot, store=first.store)
        named = {"worker": slot, "pid": os.getpid()}
        WorkerProcess(
            loaded,
            generation.number,
            slot,
            listening,
            master,
            handover_pairs,
            scoreboard,
            changed_keys,
            pipe.named(**named),
            history.named(**named) if history else None,
            generation.tables.fds,
            generation.zones_off,
            needs_all_tables=generation.needs_all_tables,
        ).run()

    return WorkerProgram(run, (*(sock.fileno() for sock in shared), *fds), identity, CHOSEN.name)


def _watcher(settings: Settings, pipe: LogPipe) -> HelperProcess | None:
    """The process that compiles tables again when this machine's networks change; None where it may not write them."""
    # The compiler is nothing that masters without this process should carry.
    from forkpolicy.compile.command import compile_tables  # noqa: PLC0415
    from forkpolicy.compile.watch import watch, why_not_written  # noqa: PLC0415

    def log() -> LogPipe:
        return pipe.named(process="networks", pid=os.getpid())

    if reason := why_not_written(Path(settings.tables)):
        # Under the shipped units this is expected.
        level = "info" if "INVOCATION_ID" in os.environ else "warning"
        log().event(level, "networks not watched", reason=reason, hint=WATCHED_BY)
        return None
    return HelperProcess(
        "networks",
        lambda: watch(settings.path, log(), compile_tables),
        lambda trace: log().event("critical", "bug", traceback=trace),
        pipe.fds,
    )
