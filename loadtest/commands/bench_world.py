"""`python -m loadtest bench-world`: what an ACL that asks an engine or the DNS adds to a request, in CPU of the server.

The same policies with and without the ACL, and the C echo server, in turn (clients/rounds.py). What the ACL adds is, in
each round, the difference to the policy without it. The CPU of engine and name server is not in it. The second table
has workers that count in one engine, with one connection for each worker, so that every question is a round trip of its
own, and with many, whose questions share one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

from loadtest.clients import generator
from loadtest.clients.added import C_ECHO, added_rows, table
from loadtest.clients.rounds import Contender, in_turn
from loadtest.errors import SetupError, VerdictError
from loadtest.measure.heading import heading, heading_lines, others_line
from loadtest.measure.processes import cpu_us
from loadtest.options import at_least, positive
from loadtest.servers.bench_names import bench_names
from loadtest.servers.contenders import native_echo
from loadtest.servers.engine import Engine
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.servers.tmpfs import tmpfs_directory
from loadtest.traffic import counted
from loadtest.traffic.asking_cost import jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack

    from loadtest.clients.added import Row

# So many questions of a worker share a round trip.
MANY = 32


@dataclass(frozen=True, slots=True)
class Shared:
    """Workers that count in one engine. `to_one`: requests a second, as a multiple of those with one connection for
    each worker; `engine_us`: CPU of the engine for a question.
    """

    connections: int
    rate: float
    to_one: float
    cpu_us: float
    engine_us: float


class Places:
    """Where servers of one run are: their directory, that of live maps, and what they ask."""

    def __init__(self, stack: ExitStack) -> None:
        """Start an engine and a name server, which run until the stack is closed."""
        self._stack = stack
        self._directory = stack.enter_context(traversable_directory())
        self._live = stack.enter_context(tmpfs_directory())
        self.engine = stack.enter_context(Engine(self._directory / "engine"))
        names = stack.enter_context(bench_names())
        self._settings = {
            "engine": f'url = "{self.engine.url}"\n',
            "names": f'[dns]\nservers = ["{names.address}"]\n',
        }

    def echo(self, requests: list[tuple[bytes, bytes]]) -> Contender:
        """The echo server."""
        return native_echo(self._stack, self._directory, requests)

    def server(self, name: str, policy: str, asks: str = "", workers: int = 1) -> Server:
        """A server of this policy that runs."""
        server = Server(
            self._directory / name.replace(" ", "-").replace(",", ""),
            policy,
            workers=workers,
            decisions="none",
            live=self._live / name.replace(" ", "-"),
            state_and_more=self._settings.get(asks, ""),
        )
        return self._stack.enter_context(server)

    @property
    def engine_pid(self) -> int:
        """The engine's process. Raises SetupError."""
        if self.engine.process is None:
            raise SetupError("the engine has ended")
        return self.engine.process.pid


def main(argv: Sequence[str]) -> int:
    """Run it, print the tables."""
    options = _options(argv)
    head = heading(f"{options.rounds} rounds of {options.seconds:g} s for each server, in turn")
    rows, others_cores = _added(options)
    shared = _shared(options)
    if options.json:
        rest = {"rows": [asdict(row) for row in rows], "shared": [asdict(row) for row in shared]}
        print(json.dumps({**head, "others_cores": others_cores, **rest}))
    else:
        tables = [*table(rows), "", *shared_table(shared, options.workers)]
        print("\n".join([*heading_lines(head), *tables, "", others_line(others_cores)]))
    return 0


def shared_table(rows: Sequence[Shared], workers: int) -> Iterator[str]:
    """The second table."""
    yield (
        f"{f'{workers} workers, one engine':<32}{'requests/s':>12}{'to one each':>13}{'CPU us/request':>16}"
        f"{'engine, us a question':>24}"
    )
    for row in rows:
        yield (
            f"{f'{row.connections} connections':<32}{row.rate:>12,.0f}{row.to_one:>13.2f}{row.cpu_us:>16.2f}"
            f"{row.engine_us:>24.2f}"
        )


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest bench-world", description=__doc__)
    parser.add_argument("--connections", type=at_least(1), default=32, help="in the first table (default %(default)s)")
    parser.add_argument("--workers", type=at_least(1), default=4, help="in the second table (default %(default)s)")
    parser.add_argument(
        "--rounds", type=at_least(1), default=10, help="how often each server is measured (default %(default)s)"
    )
    parser.add_argument("--seconds", type=positive, default=0.3, help="length of a round (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _added(options: argparse.Namespace) -> tuple[list[Row], float]:
    with contextlib.ExitStack() as stack:
        places, found = Places(stack), jobs()
        contenders = {C_ECHO: places.echo(found[0].requests)}
        for job in found:
            for name, policy, asks in ((f"without {job.name}", job.without, ""), (job.name, job.policy, job.asks)):
                server = places.server(name, policy, asks)
                asked = [places.engine_pid] if asks == "engine" else []
                contenders[name] = Contender(name, server.socket_path, server.process_ids(), job.requests, asked)
        compared = in_turn(
            list(contenders.values()),
            connections=options.connections,
            rounds=options.rounds,
            seconds=options.seconds,
        )
    outcomes = dict(zip(contenders, compared.outcomes, strict=True))
    return added_rows(outcomes, options.connections), compared.others_cores


def _shared(options: argparse.Namespace) -> list[Shared]:
    """One server with few and with many connections, in turn."""
    requests = counted.new_messages(counted.PASSED)
    with contextlib.ExitStack() as stack:
        places = Places(stack)
        server = places.server("shared", counted.LIMIT, "engine", options.workers)
        pids = server.process_ids()
        clients = {
            count: stack.enter_context(generator.connected(server.socket_path, requests, connections=count))
            for count in (options.workers, MANY * options.workers)
        }
        found: dict[int, list[_Round]] = {count: [] for count in clients}
        for each in clients.values():
            each.round(options.seconds)
        for _ in range(options.rounds):
            for count, each in clients.items():
                before_us, engine_before_us = cpu_us(pids), cpu_us([places.engine_pid])
                load = each.round(max(0.5, options.seconds))
                if trouble := load.trouble(requests):
                    raise VerdictError(trouble)
                ours_us, engines_us = cpu_us(pids) - before_us, cpu_us([places.engine_pid]) - engine_before_us
                found[count].append(_Round(load.rate, ours_us / load.replies, engines_us / load.replies))
    ones = found[options.workers]
    return [_shared_row(count, rounds, ones) for count, rounds in found.items()]


class _Round(NamedTuple):
    rate: float
    cpu_us: float
    engine_us: float


def _shared_row(connections: int, rounds: Sequence[_Round], ones: Sequence[_Round]) -> Shared:
    return Shared(
        connections,
        statistics.median(each.rate for each in rounds),
        statistics.median(mine.rate / its.rate for mine, its in zip(rounds, ones, strict=True)),
        statistics.median(each.cpu_us for each in rounds),
        statistics.median(each.engine_us for each in rounds),
    )
