"""Locust's view of a day of mail: `SmtpUser` through a real Postfix, `PolicyUser` at the policy protocol.

`python -m loadtest day` prepares server and Postfix and runs this; by hand, with a server that runs already:

    locust -f loadtest/locustfile.py PolicyUser --policy-socket demo/policy --day-profile small

Web interface, --headless, --processes, --csv and --html are locust's. Users share one day: each takes the next mail,
waits until it is due (--day-speedup; 0: never waits), sends it and compares every reply with what the oracle says. A
wrong verdict or a lost reply is a failure, and so the exit status is 1. FORKPOLICY_SHAPE=ramp|spike|soak|curve picks
a load shape. Latency goes to locust in milliseconds, and in microseconds to a file in --day-results.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
from locust import User, events, task
from locust.runners import MasterRunner, WorkerRunner

from loadtest.clients.part_of_day import Run
from loadtest.clients.policy_client import LostReplyError, PostfixClient
from loadtest.clients.reachable import refuse_silent_port, refuse_silent_socket
from loadtest.clients.shapes import SHAPES
from loadtest.clients.smtp import SmtpClient
from loadtest.errors import SetupError, VerdictError
from loadtest.traffic.mail import policy_request
from loadtest.traffic.profile import load_profile
from loadtest.traffic.remembering import named
from loadtest.traffic.traffic import Day

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from locust.env import Environment
    from locust.runners import Runner

    from loadtest.traffic.mail import Transaction
    from loadtest.traffic.traffic import Timed

LATER = "later"
# Between the numbers of a mail's attempts: more than a day has mails.
ATTEMPT = 10**9

if os.environ.get("FORKPOLICY_SHAPE"):
    # Locust uses any shape that it finds in this file, so there is one only when it is asked for.
    if os.environ["FORKPOLICY_SHAPE"] not in SHAPES:
        raise SystemExit(f"FORKPOLICY_SHAPE={os.environ['FORKPOLICY_SHAPE']}: expected one of {', '.join(SHAPES)}")
    Shape = SHAPES[os.environ["FORKPOLICY_SHAPE"]]


class MailUser(User):
    """What both kinds of users have in common; `send` is what differs."""

    abstract = True
    # Not `run`: that is locust's own.
    part: Run

    def on_start(self) -> None:
        """Take part."""
        self.part = self.environment.run
        self.part.active += 1

    def on_stop(self) -> None:
        """The last user of this process ends it."""
        self.part.active -= 1
        if self.part.active == 0:
            finish(self.environment)

    @task
    def one_mail(self) -> None:
        """Send the next mail of the day."""
        timed, times = self.part.next_mail()
        try:
            if self.send(timed, times) == LATER:
                self.part.deferred(timed, times)
        except (LostReplyError, OSError, EOFError) as error:
            self.lose(timed.mail, f"{type(error).__name__}: {error}")

    def send(self, timed: Timed, times: int) -> str:
        """Send it for the first time or once more, and call `judge` for each recipient; the last answer."""
        raise NotImplementedError

    def judge(self, timed: Timed, times: int, recipient: str, answer: str, started: float, said: str) -> str:
        """Compare one reply with what is right: `answer` names it and is empty when it was no verdict. Returns it.

        What depends on earlier mail is noted, and judged when the run is over.
        """
        mail, us = timed.mail, int((time.perf_counter() - started) * 1e6)
        words = f"{mail.kind}: {mail.client} {mail.sender or '<>'} to {recipient}: {said}"
        if not answer:
            self.lose(mail, words)
            return answer
        refuse = timed.refused[mail.recipients.index(recipient)]
        right = (answer == "refused") == refuse
        self.part.results.verdict(mail.kind, refused=answer != "passed", right=right, latency_us=us, words=words)
        self.report(mail.kind, us, None if right else VerdictError(words))
        if self.part.remembers:
            now_s, login = time.time(), mail.login if mail.signed_in else ""
            who = (f"{timed.number}-{times}", mail.kind, mail.client, mail.sender, recipient, login)
            self.part.results.history.append([*who, now_s - us / 1e6, now_s, answer])
        return answer

    def lose(self, mail: Transaction, words: str) -> None:
        """A request that got no verdict."""
        self.part.results.loss(words)
        self.report(mail.kind, 0, LostReplyError(words))

    def report(self, kind: str, us: int, error: Exception | None) -> None:
        """Tell locust."""
        self.environment.events.request.fire(
            request_type=type(self).__name__,
            name=kind,
            response_time=us / 1000,
            response_length=0,
            exception=error,
            context={},
        )


class PolicyUser(MailUser):
    """Asks as Postfix's smtpd does: one connection for its whole life, one request at a time."""

    def on_start(self) -> None:
        """Make the client; it connects with its first request."""
        super().on_start()
        self.client = PostfixClient(self.part.options.policy_socket)

    def on_stop(self) -> None:
        """Disconnect."""
        self.client.close()
        super().on_stop()

    def send(self, timed: Timed, times: int) -> str:
        """One request for each recipient."""
        answer = ""
        for recipient in timed.mail.recipients:
            # Each attempt is another message.
            request = policy_request(timed.mail, recipient, timed.number + times * ATTEMPT)
            started = time.perf_counter()
            action = self.client.ask(request)
            if self.client.tally.overlooked:
                raise LostReplyError("a reply had more in it than one action")
            name = named(action, passed=action == "DUNNO")
            answer = self.judge(timed, times, recipient, name, started, action)
        self.client.between_sessions()
        return answer


class SmtpUser(MailUser):
    """One SMTP session for each mail, with XCLIENT for its address and real AUTH."""

    def send(self, timed: Timed, times: int) -> str:
        """From the banner to QUIT; the message itself only where a recipient was accepted."""
        mail = timed.mail
        with SmtpClient(self.part.options.smtp_port) as session:
            session.ehlo(mail.helo)
            session.xclient(mail.client, name=mail.client_name if mail.client_name != "unknown" else "[UNAVAILABLE]")
            session.ehlo(mail.helo)
            if mail.login:
                session.auth(mail.method, mail.login, "wrong" if mail.wrong_password else "secret")
            session.mail(mail.sender)
            accepted, answer = 0, ""
            for recipient in mail.recipients:
                started = time.perf_counter()
                reply = session.rcpt(recipient)
                accepted += reply.code == 250
                name = named(reply.text, passed=reply.code == 250)
                answer = self.judge(timed, times, recipient, name, started, str(reply))
            if accepted:
                session.data()
        return answer


def finish(environment: Environment) -> None:
    """Called when this process has sent its part: write the results, and end the run when all have."""
    run: Run = environment.run  # type: ignore[attr-defined]
    if run.options.day_results:
        run.results.write(Path(run.options.day_results) / f"results-{run.index}.json")
    if isinstance(environment.runner, WorkerRunner):
        # Before it says that it is done: the last report that locust sends by itself may come too late to be read.
        environment.runner._send_stats()
        environment.runner.send_message("day_done")
    elif environment.runner is not None:
        _end(environment.runner)


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_options(parser: ArgumentParser) -> None:
    """Options of the day, in addition to locust's own."""
    parser.add_argument("--day-profile", default="small", help="a profile's name, or a file *.toml")
    parser.add_argument("--day-speedup", type=float, default=0.0, help="1: as in real life; 0: as fast as it goes")
    parser.add_argument("--day-seed", type=int, default=0, help="another day of the same profile")
    parser.add_argument("--day-between", default="", help="a part of the day, such as 09:00-09:05")
    parser.add_argument("--day-transactions", type=int, default=0, help="more or fewer mails than the profile has")
    parser.add_argument("--day-results", default="", help="directory for the results in microseconds")
    parser.add_argument("--policy-socket", default="", help="the policy server's UNIX socket, for PolicyUser")
    parser.add_argument("--smtp-port", type=int, default=0, help="Postfix's port on 127.0.0.1, for SmtpUser")


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def prepare(environment: Environment, **_: object) -> None:
    """Before the first user: this process's part of the day."""
    runner = environment.runner
    options = environment.parsed_options
    assert options is not None
    try:
        if not isinstance(runner, MasterRunner) or options.processes:
            _refuse_silence(environment.user_classes, options)
        # In the master, too: it would wait for ever for processes that have ended for a wrong profile.
        day = _day(options)
        if isinstance(runner, MasterRunner):
            _end_with_the_last(runner)
            return
        index, count = 0, 1
        if isinstance(runner, WorkerRunner):
            index, count = runner.worker_index, options.processes or int(os.environ.get("FORKPOLICY_PROCESSES", "1"))
        environment.run = Run(options, day, index, count)  # type: ignore[attr-defined]
    except SetupError as error:
        if isinstance(runner, WorkerRunner) and options.processes:
            raise SystemExit(error.exit_code) from error  # and its master says why
        print(error, file=sys.stderr)
        if not isinstance(runner, MasterRunner):
            raise SystemExit(error.exit_code) from error
        # Processes whose master has gone would wait for it for a minute: send them the end.
        environment.process_exit_code = error.exit_code
        gevent.spawn(runner.quit)


def _day(options: Namespace) -> Day:
    changes = {"transactions": options.day_transactions or None, "seed": options.day_seed or None}
    return Day(load_profile(options.day_profile, **changes), options.day_between)


def _end_with_the_last(runner: MasterRunner) -> None:
    waiting = [len(runner.clients)]

    def one_less(**_: object) -> None:
        waiting[0] -= 1
        if waiting[0] == 0:
            _end(runner)

    runner.register_message("day_done", one_less)


def _end(runner: Runner) -> None:
    """Keep the figures in the web interface, and a way to start once more."""
    # Not from a user's own greenlet: both wait for it.
    gevent.spawn(runner.stop if runner.environment.web_ui else runner.quit)


def _refuse_silence(users: Sequence[type[User]], options: Namespace) -> None:
    if any(issubclass(user, PolicyUser) for user in users):
        if not options.policy_socket:
            raise SetupError("--policy-socket is missing: PolicyUser asks the server that listens there")
        refuse_silent_socket(options.policy_socket, "start it, and say where it is with --policy-socket")
    if any(issubclass(user, SmtpUser) for user in users):
        refuse_silent_port(options.smtp_port, "start Postfix, and say where it is with --smtp-port")
