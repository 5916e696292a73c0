"""`python -m loadtest day`: a day of a profile, through a real Postfix or at the protocol; every verdict is compared.

Prepares server, tables and Postfix below a temporary directory, lets locust's users send the day, and writes a report.
Exit code 1 when a verdict was wrong or a reply was lost, 2 when something that the run needs is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.clients.reachable import refuse_silent_socket
from loadtest.errors import SetupError
from loadtest.measure import report
from loadtest.measure.results import merged
from loadtest.measure.sampler import Sampler
from loadtest.options import at_least, not_negative, report_directory
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import POLICY_SERVICE, PrivatePostfix, missing, traversable_directory
from loadtest.servers.server import Server
from loadtest.traffic.profile import load_profile, names
from loadtest.traffic.remembering import Asked, wrong_replies
from loadtest.traffic.traffic import Day

if TYPE_CHECKING:
    from collections.abc import Sequence

# As README has it.
MAIN_CF = {"smtpd_recipient_restrictions": f"reject_non_fqdn_sender, reject_non_fqdn_recipient, {POLICY_SERVICE}"}
LOCUSTFILE = Path(__file__).parent.parent / "locustfile.py"


@dataclass(frozen=True, slots=True)
class Target:
    """What a day is sent to."""

    server: Server | None
    socket_path: Path
    smtp_port: int = 0


def main(argv: Sequence[str]) -> int:
    """Run it; the exit code."""
    options = make_parser().parse_args(argv)
    _refuse_missing(options)
    profile = load_profile(options.profile, transactions=options.transactions, seed=options.seed)
    day = Day(profile, options.between)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(traversable_directory())
        target = prepare(stack, directory, day, options)
        command = f"python -m loadtest day {shlex.join(argv)}"
        run = send(directory, day, target, options, command)
    report.write(run, options.report)
    print(report.text(run))
    print(f"report: {options.report / 'report.html'}")
    return 0 if run.good else 1


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m loadtest day", description=__doc__)
    parser.add_argument("--profile", default="small", help=f"{', '.join(names())}, or a file *.toml (%(default)s)")
    parser.add_argument("--transactions", type=at_least(1), help="more or fewer mails than the profile has")
    parser.add_argument("--seed", type=at_least(0), help="another day of the same profile")
    parser.add_argument("--between", default="", help="a part of the day, such as 09:00-09:05")
    parser.add_argument("--speedup", type=not_negative, default=0.0, help="1: as in real life; 0: as fast as it goes")
    parser.add_argument("--through", choices=("postfix", "protocol"), default="postfix", help="(%(default)s)")
    parser.add_argument("--socket", type=Path, help="ask the server on this socket instead of one of our own")
    parser.add_argument("--port", type=at_least(0), default=0, help="for Postfix, on 127.0.0.1; 0: any free one")
    parser.add_argument("--users", type=at_least(1), default=16, help="that send at the same time (%(default)s)")
    parser.add_argument("--processes", type=at_least(1), default=1, help="of locust (%(default)s)")
    parser.add_argument("--workers", type=at_least(1), default=2, help="of forkpolicy (%(default)s)")
    parser.add_argument("--report", type=report_directory, default="demo/loadtest", help="directory (%(default)s)")
    parser.add_argument(
        "--locust", default="", help="more arguments for locust, such as '--csv demo/day --html x.html'"
    )
    return parser


def prepare(stack: contextlib.ExitStack, directory: Path, day: Day, options: argparse.Namespace) -> Target:
    """Start what the day is sent to; it ends with `stack`."""
    if options.socket:
        refuse_silent_socket(options.socket, "start it, or leave --socket out")
        return Target(None, options.socket)
    if options.through == "protocol":
        server = Server(directory / "server", day.policy, sources=day.sources, workers=options.workers)
        return Target(stack.enter_context(server), server.socket_path)
    postfix = PrivatePostfix(directory / "postfix", main=MAIN_CF, port=options.port, processes=options.users + 10)
    stack.enter_context(postfix)
    socket_path = postfix.private / "policy"
    server = Server(
        directory / "server", day.policy, sources=day.sources, workers=options.workers, socket_path=socket_path
    )
    return Target(stack.enter_context(server), socket_path, postfix.port)


def send(directory: Path, day: Day, target: Target, options: argparse.Namespace, command: str) -> report.Run:
    """Let locust send the day; what came of it."""
    parts_directory = directory / "results"
    parts_directory.mkdir()
    with Sampler(target.server.process_ids if target.server else list) as sampler:
        code = subprocess.run(
            _locust(day, target, parts_directory, options),
            stdin=subprocess.DEVNULL,
            check=False,
        ).returncode
    parts = list(parts_directory.glob("results-*.json"))
    if len(parts) != options.processes:
        raise SetupError(
            f"locust ended with {code} before the day was over: {len(parts)} of {options.processes} processes are done"
        )
    results = merged(parts)
    results.judged(wrong_replies([Asked(*each) for each in results.history], day.oracle))
    between = f" between {options.between.replace('-', ' and ')}" if options.between else ""
    workers = target.server.status()["workers"] if target.server else []
    return report.Run(
        title=f"A day of {day.profile.name}{between}, {'through Postfix' if target.smtp_port else 'at the protocol'}",
        command=command,
        results=results,
        expected=sum(len(timed.mail.recipients) for timed in day.mails()),
        samples=sampler.samples,
        titles=sampler.titles,
        held_up=sampler.held_up,
        workers=[(each["pid"], each["connections"], each["requests"]) for each in workers],
    )


def _locust(day: Day, target: Target, results: Path, options: argparse.Namespace) -> list[str]:
    words = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)]
    words += ["SmtpUser", "--smtp-port", str(target.smtp_port)] if target.smtp_port else ["PolicyUser"]
    words += ["--policy-socket", str(target.socket_path), "--headless", "--only-summary", "--loglevel", "WARNING"]
    words += ["--users", str(options.users), "--spawn-rate", str(options.users), "--day-profile", options.profile]
    words += ["--day-speedup", str(options.speedup), "--day-results", str(results)]
    words += ["--day-between", options.between] if options.between else []
    words += ["--day-seed", str(day.profile.seed), "--day-transactions", str(day.profile.transactions)]
    if options.processes > 1:
        # Of its own: at locust's usual port the processes of another load test join this one.
        port = str(free_port(1))
        words += ["--processes", str(options.processes), "--master-bind-port", port, "--master-port", port]
    return words + shlex.split(options.locust)


def _refuse_missing(options: argparse.Namespace) -> None:
    if importlib.util.find_spec("locust") is None:
        raise SetupError("locust is not installed: pip install --editable '.[loadtest]'")
    why = missing()
    if options.through == "postfix" and not options.socket and why:
        raise SetupError(f"{why}; or leave it out: --through protocol")
    if options.processes > options.users:
        raise SetupError(f"{options.processes} processes need at least as many --users")
