"""`python -m loadtest limit`: a limit that several workers count together lets exactly as many pass, whatever happens.

Clients that behave as Postfix's smtpd ask about one message each, all of one login, as fast as they can. Meanwhile, one
after the other: a reload, more and fewer workers, an upgrade in place, KILL to a worker, and STOP to one that holds the
write lock. Exit status 1 when another number passed than the limit (fewer only where the reply of a killed worker was
lost), a request was never answered, the master did not kill a stopped holder within two seconds, or it killed another.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from loadtest.clients.policy_client import PostfixClient, Tally
from loadtest.measure.histogram import Histogram
from loadtest.options import at_least, some_of
from loadtest.servers.limit_faults import NAMES, LimitFaults
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.servers.tmpfs import tmpfs_directory
from loadtest.traffic.mail import Transaction, policy_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

POLICY = """\
acl busy rate {{sasl_username}} {limit}/1h {day}/1d
action slow DEFER_IF_PERMIT 4.7.1 Too much mail
access busy slow
"""
HANG_TIMEOUT_S = 10


@dataclass
class Outcome:
    """One run. `broken`: each promise that was not kept."""

    limit: int
    requests: int
    passed: int = 0
    refused: int = 0
    asked_again: int = 0
    given_up: int = 0
    seconds: float = 0.0
    longest_wait_s: float = 0.0
    actions: dict[str, int] = field(default_factory=dict)
    holder_killed_after_s: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class Clients:
    """Threads that ask about numbered messages of one login until there are no more numbers."""

    def __init__(self, path: Path, login: str, requests: int, count: int) -> None:
        """Nothing is asked before `run`."""
        self.path, self.login, self.requests, self.count = path, login, requests, count
        self.answers: Counter[str] = Counter()
        self.tally = Tally()
        self.latency = Histogram()
        self.failures: list[str] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Ask, and return when every request has its answer."""
        threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(self.count)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    def _ask(self) -> None:
        answers: Counter[str] = Counter()
        latency = Histogram()
        mail = Transaction("login", "198.18.1.9", self.login, ("friend@example.org",), login=self.login, method="PLAIN")
        try:
            with PostfixClient(self.path) as client:
                while (number := next(self._numbers)) < self.requests:
                    began_s = time.perf_counter()
                    answers[client.ask(policy_request(mail, mail.recipients[0], number))] += 1
                    latency.record(int((time.perf_counter() - began_s) * 1e6))
        except Exception as error:  # noqa: BLE001 - of a thread: reported at the end
            self.failures.append(f"a client ended: {error!r}")
        with self._lock:
            self.answers += answers
            self.latency.add(latency)
            self.tally.add(client.tally)


def one_run(server: Server, live: Path, login: str, options: argparse.Namespace, seed: int) -> Outcome:
    """All requests of one login, and what came of them."""
    clients = Clients(server.socket_path, login, options.requests, options.connections)
    faults = LimitFaults(server, live, options.only, options.workers, seed)
    began_s = time.monotonic()
    faults.start()
    clients.run()
    faults.finish()
    outcome = Outcome(
        options.limit,
        options.requests,
        passed=clients.answers["DUNNO"],
        refused=clients.answers["DEFER_IF_PERMIT 4.7.1 Too much mail"],
        asked_again=clients.tally.asked_again,
        given_up=clients.tally.given_up,
        seconds=round(time.monotonic() - began_s, 1),
        longest_wait_s=round(clients.latency.highest() / 1e6, 2),
        actions=dict(faults.done),
        holder_killed_after_s=[round(each, 2) for each in faults.killed_after_s],
    )
    outcome.broken = [*clients.failures, *faults.broken, *broken(outcome, clients)]
    return outcome


def broken(outcome: Outcome, clients: Clients) -> Iterator[str]:
    """Each promise that a run did not keep."""
    right = min(outcome.limit, outcome.requests)
    # A message whose worker was killed may have counted; its second request finds that, if there is one.
    least = right - outcome.given_up if outcome.asked_again else right
    if not least <= outcome.passed <= right:
        yield f"{outcome.passed} passed of {outcome.requests}, with a limit of {outcome.limit}"
    if outcome.given_up:
        yield f"{outcome.given_up} requests had no answer at the second try"
    if outcome.passed + outcome.refused != outcome.requests - outcome.given_up:
        yield f"other answers than the policy has: {dict(clients.answers)}"
    killing = any(each in outcome.actions for each in ("kill", "stop"))
    if outcome.asked_again and not killing:
        yield f"{outcome.asked_again} connections were lost, and no worker was killed"


@contextlib.contextmanager
def _serving(options: argparse.Namespace) -> Iterator[tuple[Server, Path]]:
    with traversable_directory() as directory, tmpfs_directory() as live:
        server = Server(
            directory / "server",
            POLICY.format(limit=options.limit, day=10 * options.limit),
            workers=options.workers,
            decisions="none",
            more=f"hang_timeout = {HANG_TIMEOUT_S}",
            live=live / "live",
            map_size="256M",
        )
        server.start()
        try:
            yield server, live / "live"
        finally:
            # After an upgrade the master is another process than the one that was started.
            server.command("stop")
            server.stop()


def main(argv: Sequence[str]) -> int:
    """The command."""
    options = _options(argv)
    outcomes = []
    with _serving(options) as (server, live):
        for number in range(options.runs):
            login = f"run{number}-{random.Random(options.seed + number).randrange(10**6)}@example.com"
            outcome = one_run(server, live, login, options, options.seed + number)
            outcomes.append(outcome)
            if not options.json:
                print(_line(number, outcome), flush=True)
    if options.json:
        print(json.dumps([asdict(each) for each in outcomes]))
    return 1 if any(each.broken for each in outcomes) else 0


def _line(number: int, outcome: Outcome) -> str:
    actions = ", ".join(f"{count} {name}" for name, count in sorted(outcome.actions.items())) or "nothing"
    after_s = max(outcome.holder_killed_after_s, default=0.0)
    killed = f"; stopped holders killed after {after_s:.1f} s at most"
    lines = [
        f"run {number + 1}: {outcome.passed} of {outcome.requests} passed (limit {outcome.limit}), "
        f"{outcome.asked_again} asked again, {outcome.seconds:g} s, longest wait {outcome.longest_wait_s:g} s; "
        f"{actions}" + (killed if outcome.holder_killed_after_s else "")
    ]
    return "\n".join([*lines, *(f"  broken: {each}" for each in outcome.broken)])


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest limit", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--requests", type=at_least(1), default=100_000, help="of each run (default %(default)s)")
    parser.add_argument("--limit", type=at_least(1), default=37_000, help="of the login (default %(default)s)")
    parser.add_argument("--workers", type=at_least(1), default=4, help="(default %(default)s)")
    parser.add_argument("--connections", type=at_least(1), default=32, help="(default %(default)s)")
    parser.add_argument("--runs", type=at_least(1), default=3, help="of as many logins (default %(default)s)")
    parser.add_argument(
        "--only", type=_actions, default=NAMES, metavar="ACTION,...", help=f"of {', '.join(NAMES)}; none"
    )
    parser.add_argument("--seed", type=int, default=1, help="who is hit (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _actions(text: str) -> Sequence[str]:
    return () if text == "none" else some_of(NAMES)(text)
