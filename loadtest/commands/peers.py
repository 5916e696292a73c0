"""`python -m loadtest peers`: what it costs to remember, next to other servers of Debian with the same job.

Greylisting of triplets that nobody has seen before (postgrey, mtpolicyd) and a limit of two windows for each login
(policyd-rate-limit, mtpolicyd), forkpolicy with the same jobs, and the C echo server. All run at once and are measured
in turn (clients/rounds.py); CPU per request is that of all processes of a server, its database included.

A server that does not count is cheap: each new triplet must be deferred, and after the rounds a login with a small
limit must get exactly as many messages through. A wrong reply is exit status 1. As root, because peers give up
privileges; those not installed are skipped by name.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from loadtest.clients import generator
from loadtest.clients.policy_client import PolicyClient
from loadtest.clients.rounds import Contender, in_turn
from loadtest.errors import SetupError, VerdictError
from loadtest.measure.processes import descendants, machine
from loadtest.options import at_least, positive
from loadtest.servers.echo import echo_server
from loadtest.servers.peers.remembering import GREYLISTERS, GREYLISTING, LIMIT, LIMITERS
from loadtest.servers.peers.running import running
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.servers.tmpfs import tmpfs_directory
from loadtest.traffic import counted
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import Day

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from loadtest.clients.rounds import Outcome
    from loadtest.servers.peers.peer import Peer

# Reserved at the start, in memory: a million triplets.
MAP_SIZE = "256M"
WARM_UP_S = 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """One server. `to_ours`: how many times forkpolicy's CPU with the same job; None for the echo server."""

    server: str
    job: str
    cpu_us: float
    cpu_us_median: float
    to_c_echo: float | None
    to_ours: float | None
    rate: float
    p99_us: int
    passed: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender, its job, and whether a login's limit is tried after the rounds."""

    contender: Contender
    job: str
    is_limiter: bool = False


def main(argv: Sequence[str]) -> int:
    """Run it, print the table."""
    options = _options(argv)
    if os.geteuid() != 0:
        raise SetupError("only root can start the other servers as they are meant to run")
    with contextlib.ExitStack() as stack:
        directory, live = stack.enter_context(traversable_directory()), stack.enter_context(tmpfs_directory())
        entries = [*_ours(stack, directory, live), *_others(stack, directory, options.connections)]
        compared = in_turn(
            [each.contender for each in entries],
            connections=options.connections,
            rounds=options.rounds,
            seconds=options.seconds,
        )
        passed = [_probe(each) for each in entries]
    rows = list(_rows(entries, compared.outcomes, passed))
    if options.json:
        print(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}))
    else:
        print(table(rows, options, compared.others_cores))
    return 0


def table(rows: Sequence[Row], options: argparse.Namespace, others_cores: float) -> str:
    """The rows as text."""
    lines = [machine(), f"{options.connections} connections, {options.rounds} rounds of {options.seconds:g} s each", ""]
    lines.append(f"{'':<50}{'CPU us/request':>18}{'median ratio to':>22}")
    lines.append(
        f"{'server':<20}{'job':<30}{'least':>9}{'median':>9}{'C echo':>9}{'forkpolicy':>13}"
        f"{'requests/s':>12}{'p99 us':>12}  a limit of {counted.PROBE_LIMIT} let pass"
    )
    for row in rows:
        ratios = "".join(
            f"{'-' if ratio is None else format(ratio, '.1f'):>{width}}"
            for ratio, width in ((row.to_c_echo, 9), (row.to_ours, 13))
        )
        lines.append(
            f"{row.server:<20}{row.job:<30}{row.cpu_us:>9.1f}{row.cpu_us_median:>9.1f}{ratios}"
            f"{row.rate:>12,.0f}{row.p99_us:>12,}  {row.passed}"
        )
    return "\n".join([*lines, "", f"Other processes kept {others_cores:.1f} cores busy."])


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest peers", description=__doc__)
    parser.add_argument("--connections", type=at_least(1), default=16, help="to each server (default %(default)s)")
    parser.add_argument("--rounds", type=at_least(1), default=7, help="for each server (default %(default)s)")
    parser.add_argument("--seconds", type=positive, default=1.0, help="length of a round (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _ours(stack: ExitStack, directory: Path, live: Path) -> Iterator[Entry]:
    pid = stack.enter_context(echo_server(directory / "echo", native=True))
    if pid is not None:
        requests = counted.new_triplets(counted.PASSED)
        yield Entry(Contender("C echo", directory / "echo", [pid], requests), "none: the limit")
    for job, policy, requests in (
        (GREYLISTING, counted.GREYLISTING, counted.new_triplets(counted.LATER)),
        (LIMIT, counted.TABLE_OF_LIMITS, counted.new_messages(counted.PASSED)),
    ):
        name = "limit" if job == LIMIT else "greylisting"
        server = Server(
            directory / name,
            policy,
            sources=counted.LIMIT_SOURCES,
            decisions="none",
            live=live / name,
            map_size=MAP_SIZE,
        )
        stack.enter_context(server)
        contender = Contender("forkpolicy", server.socket_path, server.process_ids(), requests)
        yield Entry(contender, job, job == LIMIT)


def _others(stack: ExitStack, directory: Path, connections: int) -> Iterator[Entry]:
    triplets = [(peer, counted.new_triplets(right)) for peer, right in GREYLISTERS]
    messages = [(peer, counted.new_messages(right)) for peer, right in LIMITERS]
    for peer, requests in (*triplets, *messages):
        if not peer.installed():
            print(f"{peer.name} is not installed, and skipped: apt-get install {peer.package}", file=sys.stderr)
            continue
        path, (first, *_) = stack.enter_context(_running(peer, directory, connections))
        # A pre-forking peer starts children as connections come.
        generator.run(path, requests, connections=connections, seconds=WARM_UP_S)
        contender = Contender(peer.name, path, [first, *descendants(first)], requests)
        yield Entry(contender, peer.job, peer.job == LIMIT)


def _running(
    peer: Peer, directory: Path, connections: int
) -> contextlib.AbstractContextManager[tuple[Path, list[int]]]:
    return running(
        peer,
        directory / f"{peer.name}-{'limit' if peer.job == LIMIT else 'greylisting'}",
        Day(load_profile("bench")),
        connections,
    )


def _probe(entry: Entry) -> str:
    """How many messages of a login with a small limit pass, of how many. VerdictError when not as many as its limit."""
    if not entry.is_limiter:
        return ""
    messages = counted.probe_messages()
    with PolicyClient(entry.contender.path) as client:
        passed = sum(client.ask(each).lower() == "dunno" for each in messages)
    if passed != counted.PROBE_LIMIT:
        raise VerdictError(
            f"{entry.contender.name}: a limit of {counted.PROBE_LIMIT} messages let {passed} of {len(messages)} pass"
        )
    return f"{passed} of {len(messages)}"


def _rows(entries: Sequence[Entry], outcomes: Sequence[Outcome], passed: Sequence[str]) -> Iterator[Row]:
    ours = {
        entry.job: outcome
        for entry, outcome in zip(entries, outcomes, strict=True)
        if entry.contender.name == "forkpolicy"
    }
    echo = outcomes[0] if entries[0].contender.name == "C echo" else None
    for entry, outcome, probe in zip(entries, outcomes, passed, strict=True):
        yield Row(
            entry.contender.name,
            entry.job,
            min(outcome.cpu_us),
            statistics.median(outcome.cpu_us),
            outcome.ratio_to(echo) if echo else None,
            outcome.ratio_to(ours[entry.job]) if entry.job in ours else None,
            statistics.median(outcome.rates),
            outcome.latency.percentile(99),
            probe,
        )
