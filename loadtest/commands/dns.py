"""`python -m loadtest dns`: what a question to the DNS costs a worker, next to c-ares alone in the same run.

CPU of one process, on gevent's loop as in a worker; the name server is a process of its own on loopback. Cached: the
answer is there. Asked: each name is asked for once, with so many questions in flight at a time; c-ares alone sends the
same questions on one channel and drops the answers. Rounds take turns; the least and the median of them are shown.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import gevent

from forkpolicy.worker.dns_loop import GeventLoop
from loadtest.errors import SetupError
from loadtest.measure.heading import heading, heading_lines
from loadtest.options import at_least, counts
from loadtest.servers.names.process import name_server_process

try:
    from forkpolicy.world.dns.channels import Channel
    from forkpolicy.world.dns.resolver import Resolver
except ImportError as error:
    raise SetupError(f'{error.name} is not installed: pip install "forkpolicy[dns]"') from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Ask = Callable[[str, Callable[..., None]], object]

ZONES = {"list.example": "listed", "none.example": "nxdomain:none.example"}
LIMIT_S = 60


@dataclass(frozen=True, slots=True)
class Row:
    """CPU microseconds of a question in each round."""

    name: str
    us: list[float]


def main(argv: Sequence[str]) -> int:
    """Run it, print the table."""
    parser = argparse.ArgumentParser(prog="python -m loadtest dns", description=__doc__)
    parser.add_argument("--rounds", type=at_least(1), default=5, help="(default %(default)s)")
    parser.add_argument("--questions", type=at_least(100), default=5000, help="in each round (default %(default)s)")
    parser.add_argument("--in-flight", type=counts, default="1,32,500", help="(default %(default)s)")
    options = parser.parse_args(argv)
    head = heading(f"{options.rounds} rounds of {options.questions} questions of each kind, in turn")
    with name_server_process(ZONES) as address:
        rows = _rows(address, options)
    print("\n".join([*heading_lines(head), *_table(rows)]))
    return 0


def _rows(address: str, options: argparse.Namespace) -> list[Row]:
    loop = GeventLoop()
    names = (f"n{number}" for number in itertools.count())
    resolver = Resolver(loop, [address])
    rows = {"cached": Row("cached", [])}
    for _ in range(options.rounds):
        rows["cached"].us.append(_cached_us(resolver, options.questions))
        for zone, in_flight in itertools.product(ZONES, options.in_flight):
            asked = list(itertools.islice(names, options.questions))
            for title, ask in (("asked", _by_resolver(resolver, zone)), ("c-ares alone", _alone(loop, address, zone))):
                name = f"{title}, {ZONES[zone].partition(':')[0]}, {in_flight} in flight"
                rows.setdefault(name, Row(name, [])).us.append(_asked_us(ask, asked, in_flight))
    resolver.close()
    return list(rows.values())


def _cached_us(resolver: Resolver, questions: int) -> float:
    answers: list[object] = []
    resolver.ask("cached.list.example", "A", answers.append)
    _until(lambda: bool(answers))
    cached = resolver.cached
    started = time.process_time_ns()
    for _ in range(questions):
        cached("cached.list.example", "A")
    return (time.process_time_ns() - started) / 1000 / questions


def _by_resolver(resolver: Resolver, zone: str) -> Ask:
    return lambda name, done: resolver.ask(f"{name}.{zone}", "A", done)


def _alone(loop: GeventLoop, address: str, zone: str) -> Ask:
    """Questions on a channel that is new in each round. Each answer is read at once."""
    channel = Channel(loop, [address], 1, lambda channel: channel.read(), lambda: True)

    def tick() -> None:
        channel.look_at_clock()
        if channel.in_flight:
            loop.after(0.1, tick)

    def ask(name: str, done: Callable[..., None]) -> None:
        if not channel.in_flight:
            loop.after(0.1, tick)
        channel.ask(f"alone-{name}.{zone}", "A", done)

    return ask


def _asked_us(ask: Ask, names: Sequence[str], in_flight: int) -> float:
    """All names, so many of them at a time."""
    left = iter(names)
    answered = 0

    def begin() -> None:
        name = next(left, None)
        if name:
            ask(name, done)

    def done(*_answer: object) -> None:
        nonlocal answered
        answered += 1
        begin()

    started = time.process_time_ns()
    for _ in range(in_flight):
        begin()
    _until(lambda: answered == len(names))
    return (time.process_time_ns() - started) / 1000 / len(names)


def _until(is_done: Callable[[], bool]) -> None:
    with gevent.Timeout(LIMIT_S):
        while not is_done():
            gevent.sleep(0.005)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield f"{'':<36}{'CPU us, least':>14}{'median':>9}"
    for row in rows:
        yield f"{row.name:<36}{min(row.us):>14.2f}{median(row.us):>9.2f}"
