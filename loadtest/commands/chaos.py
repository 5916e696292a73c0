"""`python -m loadtest chaos`: every action of an operator at once, on a server under full load; what clients saw.

Gentle: a reload and a HUP each second, scaling up and down each second, recycling by max_requests, retired workers,
an upgrade in place every five. No connection may be closed, every request has exactly one answer, by a policy not
older than the last finished reload, and none waits longer than Postfix does by our main.cf. Rough adds killed,
stopped and hanging processes, no descriptors, a full log disk (as root), a stepped wall clock (with a C compiler) and
a suspended machine; then no more connections may be lost than the killed workers held, and a client of one gets its
reply at the second try. Exit status 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtest.clients.load_clients import REQUEST, LoadClients, Smtpd
from loadtest.clients.policy_client import Tally
from loadtest.measure.processes import command_line, descendants, everybody, title
from loadtest.options import at_least, positive, some_of
from loadtest.servers.fault_injection import HANG_TIMEOUT_S, NAMES, FaultInjection
from loadtest.servers.operator_actions import POLICY, OperatorActions
from loadtest.servers.server import Server
from loadtest.servers.test_environment import leave_mounts, prepared_environment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from loadtest.clients.load_clients import LoadTally
    from loadtest.servers.test_environment import Environment

# A worker is that old within a second or two.
MAX_REQUESTS = 10_000
SMTPDS = 8
STOP_S = 15.0
# The `timeout` of the documented main.cf.
LONGEST_WAIT_S = 10.0
SAID = ("worker retires", "worker died", "worker hangs", "cannot accept", "worker not started", "log lines lost")


def run(
    seconds: float,
    connections: int,
    seed: int,
    *,
    rough: bool,
    only: Collection[str] = NAMES,
    longest_wait_s: float = LONGEST_WAIT_S,
) -> dict[str, Any]:
    """One run: the actions, what the clients saw, and which promises were broken."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="forkpolicy-chaos-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with prepared_environment(directory, rough=rough) as environment, _serving(directory, environment) as server:
            clients = LoadClients(server.socket_path, REQUEST, connections)
            smtpds = [Smtpd(server.socket_path, REQUEST) for _ in range(SMTPDS)]
            actions = (
                FaultInjection(server, clients, seed, environment, only)
                if rough
                else OperatorActions(server, clients, seed)
            )
            for each in (clients, *smtpds):
                each.start()
            began_s = time.monotonic()
            actions.run(seconds, actions.plan())
            tally = clients.finish()
            took_s = time.monotonic() - began_s
            report = _report(actions, tally, smtpds, took_s, longest_wait_s)
        report["broken"] += _outlived(directory)
        return report


@contextlib.contextmanager
def _serving(directory: Path, environment: Environment) -> Iterator[Server]:
    server = Server(
        directory / "server",
        POLICY.format(version=1),
        workers=2,
        decisions="none",
        more=f"max_requests = {MAX_REQUESTS}\nhang_timeout = {HANG_TIMEOUT_S}",
        log=environment.logs / "log",
        environment=environment.clock.environment if environment.clock else {},
    )
    server.start()
    try:
        yield server
    finally:
        server.command("stop")
        server.process = None


def _outlived(directory: Path) -> Iterator[str]:
    """Processes that are still there when the server has stopped; they are killed."""
    until_s = time.monotonic() + STOP_S
    while masters := [pid for pid in everybody() if str(directory) in command_line(pid)]:
        if time.monotonic() > until_s:
            for pid in [each for master in masters for each in (master, *descendants(master))]:
                yield f"process {pid} has outlived the stop: {title(pid)}"
                os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.1)


def _report(
    actions: OperatorActions, tally: LoadTally, smtpds: list[Smtpd], took_s: float, longest_wait_s: float
) -> dict[str, Any]:
    said = actions.server.said()
    cost = Tally()
    for each in smtpds:
        cost.add(each.finish())
        tally.wrong += each.wrong
    report = {
        "actions": dict(sorted(actions.done.items())),
        "server_said": {event: len(re.findall(rf'event="{event}"', said)) for event in SAID},
        "recycled": said.count('reason="max_requests'),
        "sent": tally.sent,
        "answered": tally.answered,
        "lost": tally.lost,
        "asked_again": tally.asked_again,
        "waited_s": tally.waited_s,
        "closed_in_use": tally.closed_in_use,
        "closed_idle": tally.closed_idle,
        "refused_connects": tally.refused_connects,
        "outdated_replies": tally.outdated,
        "requests_per_s": round(tally.sent / took_s),
        "latency_us": {f"p{share}": tally.latency.percentile(share) for share in (50, 99, 99.9)},
        "longest_wait_s": round(tally.latency.highest() / 1e6, 3),
        "smtpds": vars(cost),
    }
    if isinstance(actions, FaultInjection):
        report |= {"sockets_of_killed_workers": actions.held, "skipped": actions.skipped}
    return {**report, "broken": [*actions.failures, *broken(actions, tally, cost, said, longest_wait_s)]}


def broken(actions: OperatorActions, tally: LoadTally, cost: Tally, said: str, longest_wait_s: float) -> Iterator[str]:
    """Each promise that was not kept."""
    held = actions.held if isinstance(actions, FaultInjection) else 0
    closed = tally.closed_in_use + tally.closed_idle
    yield from (f"a wrong reply: {each}" for each in tally.wrong[:5])
    if tally.lost + cost.given_up:
        yield f"{tally.lost + cost.given_up} requests were never answered"
    if tally.outdated:
        yield f"{tally.outdated} replies by a policy older than the last finished reload"
    if closed + cost.asked_again > held:
        yield f"{closed} connections closed, of smtpds {cost.asked_again}; killed workers held {held}"
    if cost.overlooked:
        yield f"{cost.overlooked} replies had more in them than one action"
    if tally.refused_connects:
        yield f"{tally.refused_connects} connects were refused"
    if tally.latency.highest() > longest_wait_s * 1e6:
        yield f"a request waited {tally.latency.highest() / 1e6:.1f} s, and may wait {longest_wait_s:g} s"
    done = actions.done
    for event, allowed in (("worker hangs", done["hang"]), ("worker died", done["kill"] + done["hang"])):
        count = len(re.findall(rf'event="{event}"', said))
        if count > allowed:
            yield f"{count} times {event}, and {allowed} were our doing"
            yield from (line for line in said.splitlines() if f'event="{event}"' in line)
    for line in said.splitlines():
        if "level=critical" in line:
            yield f"a bug: {line}"


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m loadtest chaos", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--seconds", type=positive, default=60.0, help="how long (default: 60)")
    parser.add_argument("--connections", type=at_least(1), default=500, help="how many (default: 500)")
    parser.add_argument("--seed", type=int, default=1, help="who is hit (default: 1)")
    parser.add_argument("--rough", action="store_true", help="inject faults, too")
    parser.add_argument("--only", type=some_of(NAMES), default=NAMES, metavar="FAULT,...", help="some faults only")
    parser.add_argument(
        "--longest-wait",
        type=positive,
        metavar="SECONDS",
        help="that may pass before an answer (default: 10; --rough: any)",
    )
    arguments = parser.parse_args(argv)
    if arguments.only != NAMES and not arguments.rough:
        parser.error("--only chooses among the faults of --rough: give both")
    if arguments.rough and os.geteuid() == 0:
        leave_mounts()
    # A worker that is stopped or hangs on purpose lets its clients wait.
    longest_wait_s = arguments.longest_wait or (math.inf if arguments.rough else LONGEST_WAIT_S)
    report = run(
        arguments.seconds,
        arguments.connections,
        arguments.seed,
        rough=arguments.rough,
        only=arguments.only,
        longest_wait_s=longest_wait_s,
    )
    print(json.dumps(report, indent=2))
    for name in report.get("skipped", ()):
        print(f"{name}: left out, it needs root or a C compiler", file=sys.stderr)
    return 1 if report["broken"] else 0
