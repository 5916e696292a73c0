"""`python -m loadtest bench-state`: what a rate limit of two windows and greylisting of new triplets add to a request.

The same policies with and without the ACL that remembers, and the C echo server, in turn (clients/rounds.py); the live
maps are on a tmpfs. What the ACL adds is, in each round, the difference to the policy without it, as a multiple of the
echo server's whole cost. The second table has one and four workers, all counting one limit, in a closed loop on all
cores: what a question costs, and how long it took with its wait for the lock, by the workers' own count.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from forkpolicy.status import ASKED_LIMITS_S
from loadtest.clients.added import C_ECHO, added_rows, table
from loadtest.clients.rounds import Contender, in_turn
from loadtest.errors import SetupError
from loadtest.measure.heading import heading, heading_lines, others_line
from loadtest.options import at_least, counts, positive
from loadtest.servers.contenders import native_echo
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.servers.tmpfs import tmpfs_directory
from loadtest.traffic import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from loadtest.clients.added import Row
    from loadtest.clients.generator import Requests
    from loadtest.clients.rounds import Outcome

# Reserved at the start, in memory: a million triplets.
MAP_SIZE = "128M"
LIMIT, GREYLISTING = "rate of two windows", "greylisting, new triplets"
# Policy without and with the ACL, and the requests.
JOBS: dict[str, tuple[str, str, Requests]] = {
    LIMIT: (counted.WITHOUT_LIMIT, counted.LIMIT, counted.new_messages(counted.PASSED)),
    GREYLISTING: (counted.WITHOUT_GREYLISTING, counted.GREYLISTING, counted.new_triplets(counted.LATER)),
}
# Of one login: all workers count in one record.
ONE_LIMIT = counted.new_messages(counted.PASSED)[:1]


@dataclass(frozen=True, slots=True)
class Shared:
    """One limit that `workers` count. `question_us`: CPU of a question; `to_one`: as a multiple of one worker's;
    `p999_ms`: the upper edge of the bucket that 99.9 % of the questions are below.
    """

    workers: int
    cpu_us: float
    question_us: float
    to_one: float
    rate: float
    p999_ms: float


def main(argv: Sequence[str]) -> int:
    """Run it, print the tables."""
    options = _options(argv)
    head = heading(f"{options.rounds} rounds of {options.seconds:g} s for each server, in turn")
    rows: list[Row] = []
    others_cores = 0.0
    for connections in options.connections:
        found, others = _added(connections, options)
        rows += found
        others_cores = max(others, others_cores)
    shared, others = _shared(options)
    others_cores = max(others, others_cores)
    if options.json:
        rest = {"rows": [asdict(row) for row in rows], "shared": [asdict(row) for row in shared]}
        print(json.dumps({**head, "others_cores": others_cores, **rest}))
    else:
        print("\n".join([*heading_lines(head), *table(rows), "", *shared_table(shared), "", others_line(others_cores)]))
    return 0


def shared_table(rows: Sequence[Shared]) -> Iterator[str]:
    """The second table."""
    yield (
        f"{'one limit, all workers':<24}{'CPU us/request':>16}{'a question us':>15}{'to one worker':>15}"
        f"{'requests/s':>12}{'p99.9 of a question':>22}"
    )
    for row in rows:
        yield (
            f"{row.workers:<24}{row.cpu_us:>16.2f}{row.question_us:>15.2f}{row.to_one:>15.2f}{row.rate:>12,.0f}"
            f"{'at most':>14}{row.p999_ms:>6.3g} ms"
        )


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest bench-state", description=__doc__)
    parser.add_argument("--connections", type=counts, default="32,500", help="(default %(default)s)")
    parser.add_argument("--workers", type=counts, default="1,4", help="in the second table (default %(default)s)")
    parser.add_argument(
        "--rounds", type=at_least(1), default=10, help="how often each server is measured (default %(default)s)"
    )
    parser.add_argument("--seconds", type=positive, default=0.3, help="length of a round (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


@contextlib.contextmanager
def _places() -> Iterator[tuple[ExitStack, Path, Path]]:
    with contextlib.ExitStack() as stack:
        yield stack, stack.enter_context(traversable_directory()), stack.enter_context(tmpfs_directory())


def _added(connections: int, options: argparse.Namespace) -> tuple[list[Row], float]:
    """What the ACLs add. New servers for each number of connections: a map that has grown is slower."""
    with _places() as (stack, directory, live):
        contenders = {C_ECHO: native_echo(stack, directory, JOBS[LIMIT][2])}
        for job, (without, policy, requests) in JOBS.items():
            for name, text in ((f"without {job}", without), (job, policy)):
                server = _server(stack, directory, live, name.replace(" ", "-"), text)
                contenders[name] = Contender(name, server.socket_path, server.process_ids(), requests)
        compared = in_turn(
            list(contenders.values()), connections=connections, rounds=options.rounds, seconds=options.seconds
        )
    outcomes = dict(zip(contenders, compared.outcomes, strict=True))
    return added_rows(outcomes, connections), compared.others_cores


def _shared(options: argparse.Namespace) -> tuple[list[Shared], float]:
    """One limit, by the numbers of workers, each next to as many without it."""
    with _places() as (stack, directory, live):
        servers = {
            (workers, is_counting): _server(
                stack,
                directory,
                live,
                f"{workers}-{is_counting}",
                counted.LIMIT if is_counting else counted.WITHOUT_LIMIT,
                workers=workers,
            )
            for workers in options.workers
            for is_counting in (False, True)
        }
        contenders = [
            Contender(f"{workers} workers", server.socket_path, server.process_ids(), ONE_LIMIT)
            for (workers, _), server in servers.items()
        ]
        compared = in_turn(
            contenders, connections=128, rounds=options.rounds, seconds=max(0.5, options.seconds), apart=False
        )
        outcomes = dict(zip(servers, compared.outcomes, strict=True))
        p999s_ms = {workers: _p999_ms(servers[workers, True]) for workers in options.workers}
    first = options.workers[0]
    rows = [_shared_row(workers, first, outcomes, p999s_ms[workers]) for workers in options.workers]
    return rows, compared.others_cores


def _shared_row(workers: int, first: int, outcomes: Mapping[tuple[int, bool], Outcome], p999_ms: float) -> Shared:
    outcome = outcomes[workers, True]
    questions, ones = _questions_us(workers, outcomes), _questions_us(first, outcomes)
    return Shared(
        workers,
        statistics.median(outcome.cpu_us),
        statistics.median(questions),
        statistics.median(questions) / statistics.median(ones),
        statistics.median(outcome.rates),
        p999_ms,
    )


def _questions_us(workers: int, outcomes: Mapping[tuple[int, bool], Outcome]) -> list[float]:
    """CPU of a question in each round."""
    each = zip(outcomes[workers, True].cpu_us, outcomes[workers, False].cpu_us, strict=True)
    return [mine - its for mine, its in each]


def _p999_ms(server: Server) -> float:
    workers = server.obey("status")["workers"]
    times = [sum(column) for column in zip(*(each["asked"]["times"] for each in workers), strict=True)]
    below, total = 0, sum(times)
    if not total:
        raise SetupError("no worker has asked the store anything: the policy does not remember")
    for limit_s, count in zip((*ASKED_LIMITS_S, float("inf")), times, strict=True):
        below += count
        if below >= 0.999 * total:
            return limit_s * 1000
    return float("inf")


def _server(stack: ExitStack, directory: Path, live: Path, name: str, policy: str, workers: int = 1) -> Server:
    server = Server(directory / name, policy, workers=workers, decisions="none", live=live / name, map_size=MAP_SIZE)
    return stack.enter_context(server)
