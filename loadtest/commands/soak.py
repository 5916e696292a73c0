"""`python -m loadtest soak`: mail at the protocol for as long as is asked, and meanwhile everything that may happen.

Reloads, tables compiled anew, the log rotated, more workers, killed ones, fewer workers, one after the other. No
verdict may be wrong; a reply may be lost only where its worker was killed: the clients ask again after a second, as
Postfix does, and what counts as lost is what got no answer then either. The oldest worker is spared: its memory and
descriptors, those of master and logger must be flat (flatness.py). Nothing may fail, and no bug may be logged.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shlex
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from loadtest.clients.policy_client import PostfixClient, Tally
from loadtest.errors import SetupError
from loadtest.measure import flatness, report
from loadtest.measure.results import Results
from loadtest.measure.sampler import Sampler
from loadtest.options import at_least, not_negative, positive, report_directory
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.traffic.mail import policy_request
from loadtest.traffic.profile import load_profile, names
from loadtest.traffic.traffic import POLICY, Day

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtest.traffic.traffic import Timed


def main(argv: Sequence[str]) -> int:
    """Run it; the exit code."""
    options = _options(argv)
    day = Day(load_profile(options.profile, seed=options.seed))
    with traversable_directory() as directory:
        server = Server(directory / "server", POLICY, sources=day.sources, workers=options.workers)
        mail = _Mail(day, server.socket_path, options.users, options.rate)
        with server, Sampler(server.process_ids) as sampler, mail:
            events = _Events(server, day, kills=not options.no_kills)
            events.happen(options.minutes * 60, options.every)
        lives = flatness.lives(sampler.samples, sampler.titles)
        failures = [*events.failures, *mail.failures, *events.bugs(), *_grown(lives, options.users)]
        if mail.cost.overlooked:
            failures.append(f"{mail.cost.overlooked} replies had more in them than one action")
        run = report.Run(
            title=f"A soak of {options.minutes:g} minutes, {day.profile.name}",
            command=f"python -m loadtest soak {shlex.join(argv)}",
            results=mail.results,
            expected=mail.results.replies + mail.results.lost_count,
            samples=sampler.samples,
            titles=sampler.titles,
            events=events.done,
            held_up=sampler.held_up,
            notes=[_cost(mail.cost), *flatness.table(lives)],
            failures=failures,
        )
    report.write(run, options.report)
    print(report.text(run))
    print(f"report: {options.report / 'report.html'}")
    return 0 if run.good else 1


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest soak", description=__doc__)
    parser.add_argument("--profile", default="provider", help=f"{', '.join(names())}, or a file *.toml (%(default)s)")
    parser.add_argument("--minutes", type=positive, default=60.0, help="(%(default)s)")
    parser.add_argument(
        "--rate", type=not_negative, default=0.0, help="mails a second; 0: as fast as it goes (%(default)s)"
    )
    parser.add_argument("--every", type=positive, default=5.0, help="seconds between two events (%(default)s)")
    parser.add_argument("--no-kills", action="store_true", help="leave the workers alive")
    parser.add_argument("--seed", type=at_least(0), help="another day of the same profile, other events")
    parser.add_argument("--users", type=at_least(1), default=16, help="that send at the same time (%(default)s)")
    parser.add_argument("--workers", type=at_least(1), default=2, help="of forkpolicy, at first (%(default)s)")
    parser.add_argument("--report", type=report_directory, default="demo/loadtest", help="directory (%(default)s)")
    return parser.parse_args(argv)


def _cost(cost: Tally) -> str:
    return f"{cost.asked_again} requests were asked again, which cost the clients {cost.waited_s:g} s."


def _grown(lives: Sequence[flatness.Life], users: int) -> list[str]:
    # How many of the connections a worker has at a moment is chance.
    return [f"{life.title} has grown" for life in lives if life.grown(spare_descriptors=users)]


class _Mail:
    """Clients in threads, each with one connection, for ever. Use as a context manager."""

    def __init__(self, day: Day, path: Path, clients: int, rate: float) -> None:
        self.results = Results()
        self.cost = Tally()
        self._day, self._path = day, path
        self._mails = itertools.chain.from_iterable(day.mails() for _ in itertools.count())
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._pause_s = 1 / rate if rate else 0.0
        self._due_s = 0.0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> _Mail:  # noqa: PYI034 - private, and never subclassed
        self._due_s, self.results.start_s = time.monotonic(), time.time()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        try:
            with PostfixClient(self._path) as client:
                while not self._stopping.is_set():
                    timed = self._next()
                    for recipient, refuse in zip(timed.mail.recipients, timed.refused, strict=True):
                        self._ask(client, timed, recipient, refuse)
                    client.between_sessions()
            with self._lock:
                self.cost.add(client.tally)
        except Exception as error:  # noqa: BLE001 - of a thread: the run has failed, and says so at its end
            self.failures.append(f"a client ended: {type(error).__name__}: {error}")

    def _next(self) -> Timed:
        """The next mail, when it is due."""
        with self._lock:
            timed = next(self._mails)
            self._due_s += self._pause_s
            early_s = self._due_s - time.monotonic() if self._pause_s else 0.0
            self.results.late_us = max(self.results.late_us, int(-early_s * 1e6))
        if early_s > 0:
            self._stopping.wait(early_s)
        return timed

    def _ask(self, client: PostfixClient, timed: Timed, recipient: str, refuse: bool) -> None:
        request = policy_request(timed.mail, recipient, timed.number)
        started = time.perf_counter()
        given_up, asked_again = client.tally.given_up, client.tally.asked_again
        action = client.ask(request)
        us = int((time.perf_counter() - started) * 1e6)
        words = f"{timed.mail.kind}: {timed.mail.client} {timed.mail.sender} to {recipient}: {action}"
        words += " (asked again)" if client.tally.asked_again > asked_again else ""
        with self._lock:
            if client.tally.given_up > given_up:
                self.results.loss(words)
                return
            refused = action.startswith("REJECT ")
            right = refused == refuse and (refused or action == "DUNNO")
            self.results.verdict(timed.mail.kind, refused=refused, right=right, latency_us=us, words=words)


class _Events:
    """What happens to the server meanwhile."""

    def __init__(self, server: Server, day: Day, *, kills: bool) -> None:
        self.done: list[tuple[float, str]] = []
        self.failures: list[str] = []
        self._server, self._day = server, day
        self._random = random.Random(day.profile.seed)
        # Scaling down lets the newest go, so this one stays.
        self._oldest = server.worker_pids()[0]
        self._logs = [server.log, server.log.with_suffix(".1")]
        self._bugs: list[str] = []
        self._causes: list[Callable[[], str]] = [self._reload, self._recompile, self._rotate, self._scale_up]
        self._causes += [self._kill, self._scale_down] if kills else [self._scale_down]

    def happen(self, length_s: float, every_s: float) -> None:
        """One after the other, until the time is over."""
        started_s = time.monotonic()
        pause = threading.Event()
        for cause in itertools.cycle(self._causes):
            pause.wait(min(every_s, max(0.0, started_s + length_s - time.monotonic())))
            at_s = time.monotonic() - started_s
            if at_s >= length_s:
                return
            try:
                self.done.append((at_s, cause()))
            except (SetupError, subprocess.TimeoutExpired) as error:
                self.done.append((at_s, f"FAILED: {error}"))
                self.failures.append(f"at {at_s:.1f} s: {error}")

    def bugs(self) -> list[str]:
        """What the server has called a bug of its own; it has ended."""
        self._look_into_logs()
        return self._bugs

    def _reload(self) -> str:
        self._server.write_policy(f"# {self._random.random()}\n{POLICY}")
        return "reload: " + self._outcome("reload")

    def _recompile(self) -> str:
        # A domain that no mail is about: the table is another one, every verdict stays.
        extra = f"soak{self._random.randrange(1 << 30)}.example\n"
        self._server.write_source("local-domains", self._day.sources["local-domains"] + extra)
        self._server.compile("local_domains")
        return "the table of domains compiled anew"

    def _rotate(self) -> str:
        # As logrotate does: the previous file belongs to no process any more.
        log, before = self._logs
        self._look_into_logs(before)
        log.rename(before)
        assert self._server.process
        self._server.process.send_signal(signal.SIGUSR1)
        return "log rotated"

    def _scale_up(self) -> str:
        wanted = self._random.randrange(3, 6)
        return f"scale {wanted}: " + self._outcome("scale", str(wanted))

    def _scale_down(self) -> str:
        wanted = self._random.randrange(1, 3)
        return f"scale {wanted}: " + self._outcome("scale", str(wanted))

    def _kill(self) -> str:
        victim = self._random.choice([pid for pid in self._server.worker_pids() if pid != self._oldest])
        os.kill(victim, signal.SIGKILL)
        return f"worker {victim} killed"

    def _outcome(self, *words: str) -> str:
        done = self._server.command(*words)
        if done.returncode:
            raise SetupError(f"forkpolicy {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
        return "done"

    def _look_into_logs(self, *logs: Path) -> None:
        for path in logs or self._logs:
            if path.exists():
                with path.open(errors="replace") as lines:
                    self._bugs += [line.strip() for line in lines if "event=bug" in line]
