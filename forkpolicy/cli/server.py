"""Commands about a running server: serve, status, top, reload, scale, stop."""

from __future__ import annotations

import argparse
import contextlib
import grp
import json
import os
import pwd
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.cli.parsers import add_command, add_json
from forkpolicy.errors import EXIT_DONE, EXIT_NO
from forkpolicy.master.control import ask
from forkpolicy.preflight import control_path
from forkpolicy.scoreboard import MAX_WANTED
from forkpolicy.settings import absolute, load_settings

if TYPE_CHECKING:
    import socket
    from typing import Any

    from forkpolicy.loading import Loaded
    from forkpolicy.log import LogPipe
    from forkpolicy.master.companion import Companion
    from forkpolicy.master.generation import Generation
    from forkpolicy.master.listener import Listener, Ownership
    from forkpolicy.master.passing import Passed
    from forkpolicy.settings import Settings

ANSWER_TIMEOUT_S = 10.0
# Three phases of a reload with their own time limits, and some.
RELOAD_TIMEOUT_S = 210.0
STOP_TIMEOUT_S = 60.0
METRICS_BACKLOG = 16
WATCHED_BY = "with systemd forkpolicy-networks.service compiles them (forkpolicy-compile --watch-interfaces, as root)"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the table."""
    add_command(commands, "serve", _serve, "run the master in the foreground until it is told to stop")
    add_json(add_command(commands, "status", _status, "look at the running master and its workers"))
    top = add_command(commands, "top", _top, "the same, live, on a terminal")
    top.add_argument(
        "-d", dest="interval_s", metavar="SECONDS", type=_interval, default=1.0, help="between looks (default: 1)"
    )
    top.add_argument("-n", dest="looks", metavar="N", type=_looks, default=0, help="end after N looks (default: never)")
    add_command(commands, "reload", _reload, "read settings and policy again; answers when every worker serves them")
    scale = add_command(commands, "scale", _scale, "run N workers from now on")
    scale.add_argument("workers", metavar="N", type=_worker_count, help=f"how many: 1 to {MAX_WANTED}")
    add_command(commands, "stop", _stop, "stop the running master gracefully")


def _worker_count(text: str) -> int:
    """The argument of `scale`. Raises ArgumentTypeError."""
    if not (text.isdecimal() and len(text) < 10 and 1 <= int(text) <= MAX_WANTED):
        raise argparse.ArgumentTypeError(f'expected a number from 1 to {MAX_WANTED}, got "{text}"')
    return int(text)


def _interval(text: str) -> float:
    """Seconds between two looks of `top`. Raises ArgumentTypeError."""
    from forkpolicy.tools.top import LEAST_INTERVAL_S, LONGEST_INTERVAL_S

    with contextlib.suppress(ValueError):
        if LEAST_INTERVAL_S <= float(text) <= LONGEST_INTERVAL_S:
            return float(text)
    raise argparse.ArgumentTypeError(f"expected {LEAST_INTERVAL_S:g} to {LONGEST_INTERVAL_S:g} seconds, found {text!r}")


def _looks(text: str) -> int:
    """How many looks of `top`. Raises ArgumentTypeError."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a number of looks from 1 on, found {text!r}")


def _serve(arguments: argparse.Namespace) -> int:
    from forkpolicy.loading import load_everything
    from forkpolicy.master.passing import inherited
    from forkpolicy.worker.exchange import HANDOVER_VERSION

    before = inherited(HANDOVER_VERSION)
    # From here on no path depends on the working directory, which may be gone at the next reload or upgrade.
    settings_path = before.settings_path if before and before.settings_path else absolute(arguments.settings)
    # Until the master catches them: a TERM in the first milliseconds ends the start, it does not get lost.
    loaded = load_everything(settings_path)
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    return serve(loaded, settings_path, before)


def serve(loaded: Loaded, settings_path: str, before: Passed | None) -> int:
    """Open what only the master may open, and run it. `before`: what the master that we replace has passed."""
    from forkpolicy.errors import ConfigError
    from forkpolicy.loading import Loaded, Outline, load_everything, load_outline
    from forkpolicy.master.exporter import Exporter
    from forkpolicy.master.listener import is_activated
    from forkpolicy.master.logger import Logger
    from forkpolicy.master.supervisor import Master
    from forkpolicy.master.targets import open_target
    from forkpolicy.preflight import Start, find_obstacles, log_target, worker_identity
    from forkpolicy.process import become, die_with_parent, leave_no_core, raise_descriptor_limit
    from forkpolicy.scoreboard import Scoreboard
    from forkpolicy.worker.preload import preload
    from forkpolicy.worker.run import WorkerProcess

    settings = loaded.settings
    activated = before.activated if before else is_activated()
    obstacles = find_obstacles(Start(settings, loaded.table_paths, activated))
    if obstacles:
        raise ConfigError(obstacles)
    preload()
    identity = worker_identity(settings)
    raise_descriptor_limit()
    leave_no_core()
    target = open_target(log_target(settings))
    # Before there is a socket: a logger that outlives a killed master must not keep one listening.
    logger = Logger(target, settings.log.format, "forkpolicy: log", identity)
    logger.start()
    sockets, control = open_sockets(settings, before)
    exporter = Exporter(sockets.metrics, identity, "forkpolicy: metrics") if sockets.metrics else None
    watcher = make_watcher(settings, logger.pipe) if settings.watch_interfaces else None
    scoreboard = Scoreboard()
    exchange = sockets.pairs[0], sockets.pairs[1]
    master_pid = os.getpid()

    def run_worker(generation: Generation, slot: int, master: socket.socket) -> None:
        if identity:
            become(identity)
        die_with_parent(signal.SIGKILL, master_pid)
        leave_no_core()
        # What the start has loaded is in memory, and shared; what a reload has brought is loaded from its files' bytes.
        known = generation.loaded
        loaded = known if isinstance(known, Loaded) else load_everything(settings_path, known.snapshot)
        log = logger.pipe.named(worker=slot, pid=os.getpid())
        listening = [listener.sock for listener in sockets.listeners]
        good, whole = generation.tables.fds, generation.whole
        number = generation.number
        WorkerProcess(loaded, number, slot, listening, master, exchange, scoreboard, log, good, whole=whole).run()

    _title(settings)
    return Master(
        loaded,
        lambda reading: load_outline(settings_path, reading),
        lambda outline: Outline.of(settings_path, outline),
        run_worker,
        sockets,
        control,
        logger,
        scoreboard,
        exporter,
        before,
        watcher,
    ).run()


def make_watcher(settings: Settings, pipe: LogPipe) -> Companion | None:
    """The process that compiles tables anew when this machine's networks change; None where it could not write them."""
    from forkpolicy.compile.command import main as compile_tables
    from forkpolicy.compile.watch import watch, why_not_written
    from forkpolicy.master.companion import Companion

    def log() -> LogPipe:
        return pipe.named(process="networks", pid=os.getpid())

    if reason := why_not_written(Path(settings.tables)):
        # Under the shipped units that is as it should be.
        level = "info" if "INVOCATION_ID" in os.environ else "warning"
        log().event(level, "networks not watched", reason=reason, hint=WATCHED_BY)
        return None
    return Companion(
        "networks",
        lambda: watch(settings.path, log(), compile_tables),
        lambda trace: log().event("critical", "bug", traceback=trace),
        pipe.fds,
    )


def open_sockets(settings: Settings, before: Passed | None) -> tuple[Passed, Listener]:
    """All sockets of the settings: those that a master before us has passed, those of systemd, the rest made. What is
    left of `before` is not in the settings any more.
    """
    from forkpolicy.master.listener import Ownership, inherited
    from forkpolicy.master.passing import Passed
    from forkpolicy.worker.exchange import HANDOVER_VERSION, make_exchange

    passed = before or Passed([], HANDOVER_VERSION)
    activated = inherited() if before is None else before.listeners if before.activated else []
    if activated:
        passed.listeners = []
    opened: list[Listener] = []
    try:
        if not activated:
            ownership, backlog = socket_ownership(settings), settings.server.backlog
            for endpoint in settings.server.listen:
                opened += _listen(settings, endpoint, ownership, backlog, passed.listeners)
        listeners = activated or list(opened)
        control = _passed_control(settings, before) or open_control(settings)
        opened.append(control)
        # A socket file is for whoever may reach its directory.
        endpoint = settings.metrics.listen
        metrics = _listen(settings, endpoint, Ownership(0o666), METRICS_BACKLOG, passed.metrics) if endpoint else []
    except BaseException:
        for listener in opened:
            listener.close(remove=before is None)
        raise
    pairs = before.pairs if before else list(make_exchange())
    made = Passed(listeners, HANDOVER_VERSION, control, metrics, pairs, activated=bool(activated))
    made.settings_path = settings.path
    return made, control


def _listen(
    settings: Settings, endpoint: str, ownership: Ownership, backlog: int, passed: list[Listener]
) -> list[Listener]:
    """The sockets of one endpoint: those that were passed, the others made."""
    from forkpolicy.addresses import unix_path
    from forkpolicy.master.inet import open_inet
    from forkpolicy.master.listener import open_unix, take

    if not endpoint.startswith("unix:"):
        return open_inet(endpoint, backlog, passed)
    path = unix_path(endpoint, Path(settings.path).parent)
    return [take(passed, f"unix:{path}") or open_unix(path, ownership, backlog)]


def _passed_control(settings: Settings, before: Passed | None) -> Listener | None:
    if not (before and before.control and before.control.endpoint == f"unix:{control_path(settings)}"):
        return None
    found, before.control = before.control, None
    return found


def open_control(settings: Settings) -> Any:
    """The control socket, for its owner alone; its directory is made when it is missing."""
    from forkpolicy.errors import CannotWriteError
    from forkpolicy.master.listener import Ownership, open_unix

    path = control_path(settings)
    try:
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWriteError(
            f"{Path(path).parent}: cannot be made for the control socket: {error.strerror}"
        ) from error
    return open_unix(path, Ownership(0o600), 16)


def socket_ownership(settings: Settings) -> Any:
    """Mode, owner and group of the socket files; owners change when started as root."""
    from forkpolicy.master.listener import Ownership

    server = settings.server
    mode = int(server.socket_mode, 8)
    if os.geteuid() != 0:
        return Ownership(mode)
    return Ownership(mode, pwd.getpwnam(server.socket_user).pw_uid, grp.getgrnam(server.socket_group).gr_gid)


def _title(settings: Settings) -> None:
    from setproctitle import setproctitle

    setproctitle(f"forkpolicy: master {settings.path}")


def _ask(arguments: argparse.Namespace, command: dict[str, Any], timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
    return ask(control_path(load_settings(arguments.settings)), command, timeout_s)


def _status(arguments: argparse.Namespace) -> int:
    from forkpolicy.tools import status

    seen = status.as_object(_ask(arguments, {"command": "status"}))
    print(json.dumps(seen) if arguments.as_json else status.as_text(seen))
    return EXIT_DONE


def _top(arguments: argparse.Namespace) -> int:
    from forkpolicy.tools.top import live

    return live(lambda: _ask(arguments, {"command": "status"}), arguments.interval_s, arguments.looks)


def _reload(arguments: argparse.Namespace) -> int:
    answer = _ask(arguments, {"command": "reload"}, RELOAD_TIMEOUT_S)
    for complaint in answer["complaints"]:
        print(complaint, file=sys.stderr)
    # What the start prints, too; a shadow policy that is left out is among them.
    for warning in answer.get("warnings", ()):
        print(warning, file=sys.stderr)
    for note in answer["notes"]:
        print(f"note: {note}", file=sys.stderr)
    if not answer["ok"]:
        print(f"reload refused: generation {answer['generation']} goes on serving", file=sys.stderr)
        return EXIT_NO
    print(f"every worker serves generation {answer['generation']}")
    return EXIT_DONE


def _scale(arguments: argparse.Namespace) -> int:
    answer = _ask(arguments, {"command": "scale", "workers": arguments.workers})
    if not answer["ok"]:
        print(answer["error"], file=sys.stderr)
        return EXIT_NO
    print(f"{answer['workers']} workers from now on")
    return EXIT_DONE


def _stop(arguments: argparse.Namespace) -> int:
    from forkpolicy.master.control import wait_for_end

    path = control_path(load_settings(arguments.settings))
    if not wait_for_end(path, {"command": "stop"}, STOP_TIMEOUT_S):
        print(f"the master has not ended within {STOP_TIMEOUT_S:g} s", file=sys.stderr)
        return EXIT_NO
    return EXIT_DONE
