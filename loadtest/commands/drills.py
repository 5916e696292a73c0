"""`python -m loadtest drills`: what clients see while a name server or an engine goes wrong, and what others notice.

One drill after the other, each with a server of its own. In every round requests that need nothing come at a steady
rate, first alone, then while clients that behave as Postfix's smtpd ask what the DNS or the engine must answer, and
that goes wrong: a name server answers after three seconds (late), never (dead), or with what is no listing (lies); an
engine stands still (stop), dies and comes back later (die) or at once, empty (empty). Each reply is judged. Exit status
1 when one was wrong, lost or came twice, or a message was counted twice. The p99 of requests that need nothing should
stay within 1.2 times, or 2 ms, of the same round's without the others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from loadtest.clients import generator
from loadtest.clients.waiting_clients import WaitingClients
from loadtest.measure.heading import heading, heading_lines
from loadtest.options import at_least, positive, some_of
from loadtest.servers.drills import NAMES, drill
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.servers.tmpfs import tmpfs_directory
from loadtest.traffic.asking import plain_requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.clients.generator import Generator, Load
    from loadtest.servers.drills import Drill

# Of the requests that need nothing.
CONNECTIONS = 100
# A client that is answered at once asks again after so long. Fifty that ask without a pause would keep a core busy.
PACE_S = 0.6
BEGIN_S = 10.0
RATIO, MORE_MS = 1.2, 2.0
MAX_SHOWN = 5


@dataclass
class Outcome:
    """One drill. `ratio` and `more_ms`: p99 of requests that need nothing, with the others and without, in the median
    round; `least_waiting`: of the others, at the beginning and the end of a round. `broken`: promises that were not
    kept.
    """

    drill: str
    asked: int = 0
    replies: dict[str, int] = field(default_factory=dict)
    longest_wait_s: float = 0.0
    least_waiting: int = 0
    alone_p99_ms: float = 0.0
    others_p99_ms: float = 0.0
    ratio: float = 0.0
    more_ms: float = 0.0
    broken: list[str] = field(default_factory=list)

    @property
    def is_even(self) -> bool:
        """Whether requests that need nothing did not notice."""
        return self.ratio <= RATIO or self.more_ms <= MORE_MS


class Rounds:
    """All rounds of one drill."""

    def __init__(self, name: str, it: Drill, server: Server, options: argparse.Namespace) -> None:
        """Nothing is asked before `run`."""
        self.drill, self.server, self.options = it, server, options
        self.outcome = Outcome(name, least_waiting=options.waiting)
        self.clients = WaitingClients(server.socket_path, options.waiting, PACE_S)
        self.replies: Counter[str] = Counter()
        self.p99s_ms: list[tuple[float, float]] = []

    def run(self) -> Outcome:
        """Do all, and judge."""
        path, requests = self.server.socket_path, plain_requests()
        with (
            contextlib.closing(self.clients),
            generator.connected(path, requests, connections=CONNECTIONS) as plain,
        ):
            self._plain(plain)
            for number in range(self.options.rounds):
                # Either comes first as often: what has just slept is served before others on a busy machine.
                if number % 2:
                    others = self._with_others(plain)
                    self.p99s_ms.append((self._plain(plain), others))
                else:
                    self.p99s_ms.append((self._plain(plain), self._with_others(plain)))
        return self._finish()

    def _plain(self, plain: Generator) -> float:
        """Requests that need nothing, for the time of a round; their p99 in milliseconds."""
        load = plain.round(self.options.seconds, self.options.rate)
        self.outcome.broken += _trouble(load)
        return load.latency.percentile(99) / 1000

    def _with_others(self, plain: Generator) -> float:
        clients, outcome = self.clients, self.outcome
        self.drill.begin()
        clients.begin(self.drill.questions(), self.drill.spread_s)
        if self.drill.all_wait and not clients.all_wait(BEGIN_S):
            outcome.broken.append(f"only {clients.waiting} of {clients.count} requests waited after {BEGIN_S:g} s")
        p99_ms = self._plain(plain)
        outcome.least_waiting = min(outcome.least_waiting, clients.waiting)
        self.drill.end()
        answered = clients.end()
        outcome.asked += len(answered)
        self.replies.update(each.action for each in answered)
        waits_s = (each.answered_s - each.asked_s for each in answered)
        outcome.longest_wait_s = max(outcome.longest_wait_s, *waits_s)
        outcome.broken += [*self.drill.wrong(answered), *self.drill.recover(self.server.socket_path)]
        return p99_ms

    def _finish(self) -> Outcome:
        outcome, tally = self.outcome, self.clients.tally
        outcome.broken += self.clients.failures
        for count, what in (
            (tally.asked_again, "connections were lost"),
            (tally.given_up, "requests were never answered"),
            (tally.overlooked, "replies had more in them than one action"),
        ):
            if count:
                outcome.broken.append(f"{count} {what}")
        outcome.replies = dict(self.replies.most_common())
        alone, others = zip(*self.p99s_ms, strict=True)
        outcome.alone_p99_ms, outcome.others_p99_ms = statistics.median(alone), statistics.median(others)
        outcome.ratio = statistics.median(its / mine for mine, its in self.p99s_ms)
        outcome.more_ms = statistics.median(its - mine for mine, its in self.p99s_ms)
        return outcome


def main(argv: Sequence[str]) -> int:
    """Run it, print the table."""
    options = _options(argv)
    head = heading(
        f"{options.rounds} rounds of {options.seconds:g} s without and {options.seconds:g} s with {options.waiting} "
        f"clients that ask; others {options.rate:g} a second; {options.workers} worker(s)"
    )
    outcomes = [_one_drill(name, options) for name in options.only]
    if options.json:
        print(json.dumps({**head, "drills": [{**asdict(each), "is_even": each.is_even} for each in outcomes]}))
    else:
        print("\n".join([*heading_lines(head), *table(outcomes)]))
    return 1 if any(each.broken for each in outcomes) else 0


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The outcomes as text."""
    yield f"{'':<8}{'':>8}{'':>9}{'longest':>9}   {'p99 of the others, ms':<40}"
    yield (
        f"{'drill':<8}{'asked':>8}{'waiting':>9}{'wait s':>9}{'alone':>9}{'with':>9}{'ratio':>8}{'more':>8}"
        f"   within {RATIO:g} times or {MORE_MS:g} ms"
    )
    for each in outcomes:
        yield (
            f"{each.drill:<8}{each.asked:>8}{each.least_waiting:>9}{each.longest_wait_s:>9.2f}{each.alone_p99_ms:>9.2f}"
            f"{each.others_p99_ms:>9.2f}{each.ratio:>8.2f}{each.more_ms:>8.2f}   {'yes' if each.is_even else 'no'}"
        )
    for each in outcomes:
        replies = ", ".join(f"{count} {action}" for action, count in each.replies.items())
        yield f"{each.drill}: {replies}"
        yield from (f"  broken: {what}" for what in each.broken[:MAX_SHOWN])
        if len(each.broken) > MAX_SHOWN:
            yield f"  and {len(each.broken) - MAX_SHOWN} more"


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest drills", description=__doc__)
    parser.add_argument(
        "--only", type=some_of(NAMES), default=list(NAMES), metavar="DRILL,...", help=f"some of {', '.join(NAMES)}"
    )
    parser.add_argument("--rounds", type=at_least(1), default=10, help="of each drill (default %(default)s)")
    parser.add_argument("--seconds", type=positive, default=1.0, help="each half of a round (default %(default)s)")
    parser.add_argument("--waiting", type=at_least(1), default=50, help="clients that wait (default %(default)s)")
    parser.add_argument(
        "--rate", type=positive, default=2000.0, help="others a second, which need nothing (default %(default)s)"
    )
    parser.add_argument("--workers", type=at_least(1), default=1, help="(default %(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _one_drill(name: str, options: argparse.Namespace) -> Outcome:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(traversable_directory())
        live = stack.enter_context(tmpfs_directory())
        it = drill(name, stack, directory)
        server = Server(
            directory / "server",
            it.policy,
            workers=options.workers,
            decisions="none",
            live=live / "state",
            state_and_more=it.settings,
        )
        return Rounds(name, it, stack.enter_context(server), options).run()


def _trouble(load: Load) -> list[str]:
    trouble = load.trouble(plain_requests())
    return [f"of those that need nothing: {trouble}"] if trouble else []
