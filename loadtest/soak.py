"""`python -m loadtest soak`: mail at the protocol for as long as is asked, and meanwhile everything that may happen.

Reloads, tables compiled anew, more and fewer workers, killed workers, one after the other. No verdict may be wrong;
a reply may be lost only where its worker was killed (Postfix asks again there, and so does the client here: what counts
as lost is what got no answer then either). Memory and descriptors are compared between the first and the last quarter.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from typing import TYPE_CHECKING

from loadtest import report
from loadtest.day import make_parser
from loadtest.errors import SetupError
from loadtest.mail import policy_request
from loadtest.policy_client import LostReplyError, PolicyClient
from loadtest.postfix import traversable_directory
from loadtest.profile import load_profile
from loadtest.recorder import Recorder
from loadtest.sampler import Sampler
from loadtest.server import Server
from loadtest.stream import POLICY, Day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from loadtest.sampler import Sample

# A process that is 20 % larger at the end than after its warm-up is not flat.
GROWTH = 1.2


def main(argv: Sequence[str]) -> int:
    """Run it; the exit code."""
    parser = make_parser()
    parser.prog, parser.description = "python -m loadtest soak", __doc__
    parser.add_argument("--minutes", type=float, default=60.0, help="(%(default)s)")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two events (%(default)s)")
    parser.add_argument("--no-kills", action="store_true", help="leave the workers alive")
    parser.set_defaults(profile="provider", through="protocol")
    options = parser.parse_args(argv)
    day = Day(load_profile(options.profile, seed=options.seed))
    with traversable_directory() as stage:
        server = Server(stage / "server", POLICY, sources=day.sources, workers=options.workers)
        with server, Sampler(server.process_ids) as sampler, _Mail(day, server.socket_path, options.users) as mail:
            events = list(_happen(server, day, options.minutes * 60, options.every, kills=not options.no_kills))
        run = report.Run(
            title=f"A soak of {options.minutes:g} minutes, {day.profile.name}",
            command=f"python -m loadtest soak {' '.join(argv)}",
            recorder=mail.recorder,
            expected=mail.recorder.replies + mail.recorder.lost_count,
            samples=sampler.samples,
            titles=sampler.titles,
            events=events,
        )
    report.write(run, options.report)
    print(report.text(run))
    grown = growth(sampler.samples)
    print("\n".join(grown) or "Memory and descriptors are flat.")
    print(f"report: {options.report / 'report.html'}")
    return 0 if run.good and not grown else 1


def growth(samples: Sequence[Sample]) -> list[str]:
    """Which processes grew between the first and the last quarter of their life; the first tenth is warm-up."""
    found = []
    for pid in {pid for sample in samples for pid in sample.cpu}:
        mine = [sample for sample in samples if pid in sample.memory_kib]
        mine = mine[len(mine) // 10 :]
        quarter = len(mine) // 4
        if quarter < 5:
            continue
        for name in ("anonymous_kib", "descriptors"):
            values = [getattr(sample, name)[pid] for sample in mine]
            early, late = max(values[:quarter]), max(values[-quarter:])
            if late > early * GROWTH:
                found.append(f"process {pid}: {name} grew from {early} to {late}")
    return found


class _Mail:
    """Clients in threads, each with one connection, for ever. Use as a context manager."""

    def __init__(self, day: Day, path: Path, clients: int) -> None:
        self.recorder = Recorder()
        self._day, self._path = day, path
        self._mails = itertools.chain.from_iterable(day.mails() for _ in itertools.count())
        self._lock = threading.Lock()
        self._stopping = False
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self) -> _Mail:  # noqa: PYI034 - private, and never subclassed
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        client = PolicyClient(self._path)
        while not self._stopping:
            with self._lock:
                timed = next(self._mails)
            for recipient, refuse in zip(timed.mail.recipients, timed.refused, strict=True):
                request = policy_request(timed.mail, recipient, timed.number)
                started = time.perf_counter()
                try:
                    action = client.ask(request)
                except LostReplyError:
                    client.close()
                    client, action = self._ask_again(request)
                us = int((time.perf_counter() - started) * 1e6)
                words = f"{timed.mail.kind}: {timed.mail.client} {timed.mail.sender} to {recipient}: {action}"
                with self._lock:
                    if not action:
                        self.recorder.loss(words)
                        continue
                    refused = action.startswith("REJECT ")
                    right = refused == refuse and (refused or action == "DUNNO")
                    self.recorder.verdict(timed.mail.kind, refused=refused, right=right, latency_us=us, words=words)
        client.close()

    def _ask_again(self, request: bytes) -> tuple[PolicyClient, str]:
        """As attr_clnt.c does: once more, on a new connection."""
        client = PolicyClient(self._path)
        try:
            return client, client.ask(request)
        except LostReplyError:
            client.close()
            return PolicyClient(self._path), ""


def _happen(server: Server, day: Day, length_s: float, every_s: float, *, kills: bool) -> Iterator[tuple[float, str]]:
    """Cause one event after the other until the time is over; when it was, and what."""
    rng = random.Random(day.profile.seed)
    causes: list[Callable[[Server, Day, random.Random], str]] = [_reload, _recompile, _scale_up, _scale_down]
    if kills:
        causes.append(_kill)
    started = time.monotonic()
    pause = threading.Event()
    for cause in itertools.cycle(causes):
        if time.monotonic() - started >= length_s:
            return
        pause.wait(every_s)
        yield time.monotonic() - started, cause(server, day, rng)


def _reload(server: Server, _day: Day, rng: random.Random) -> str:
    server.write_policy(f"# {rng.random()}\n{POLICY}")
    return "reload: " + _outcome(server, "reload")


def _recompile(server: Server, day: Day, rng: random.Random) -> str:
    # A domain that no mail is about: the table is another one, every verdict stays.
    extra = f"soak{rng.randrange(1 << 30)}.example\n"
    server.write_source("local-domains", day.sources["local-domains"] + extra)
    server.compile("local_domains")
    return "the table of domains compiled anew"


def _scale_up(server: Server, _day: Day, rng: random.Random) -> str:
    wanted = rng.randrange(3, 6)
    return f"scale {wanted}: " + _outcome(server, "scale", str(wanted))


def _scale_down(server: Server, _day: Day, rng: random.Random) -> str:
    wanted = rng.randrange(1, 3)
    return f"scale {wanted}: " + _outcome(server, "scale", str(wanted))


def _kill(server: Server, _day: Day, rng: random.Random) -> str:
    victim = rng.choice(server.worker_pids())
    os.kill(victim, signal.SIGKILL)
    return f"worker {victim} killed"


def _outcome(server: Server, *words: str) -> str:
    done = server.command(*words)
    if done.returncode:
        raise SetupError(f"forkpolicy {' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return "done"
