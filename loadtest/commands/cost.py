"""`cost`: what a mail costs a gateway that is refused in front, and what one that is scanned and delivered.

CPU of each part (Postfix with the processes that ended, rspamd, policy server, store, Redis), in rounds of both kinds
in turn: a session that the founding rule refuses at RCPT, and one with a mail that rspamd scans, with the modules of
Debian's configuration, and that the backend gets: ham of the public corpus, or with `--made` mails of some 6 kB of
random words. What the parts do without mail is measured in between, for as long, and subtracted. The backend and the
name server count on neither side. Status 1 where the medians of the rounds miss what is promised. Needs root. Raises
SetupError.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from loadtest.clients.smtp import SmtpClient
from loadtest.errors import SetupError
from loadtest.measure.heading import heading, heading_lines
from loadtest.measure.processes import tree_cpu_us
from loadtest.options import at_least
from loadtest.servers.engine import Engine
from loadtest.servers.gateway_site import DOMAINS, USERS, GatewaySite
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import traversable_directory
from loadtest.traffic.public_corpus import fetched, mails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Postfix's own: a new smtpd(8) after so many sessions is a part of their cost.
_MAIN: Final = "max_use = 100\n"
# A port whose clients have another address than loopback, which spares them much of a scan, by one line in front
# (haproxy.org, proxy-protocol.txt): XCLIENT would begin the milter's session anew.
_PORT: Final = "127.0.0.1:{port} inet n - n - 50 smtpd -o smtpd_upstream_proxy_protocol=haproxy\n"
_OUTSIDE: Final = b"PROXY TCP4 203.0.113.9 192.0.2.1 40000 25\r\n"
# Here no name exists, which costs every mail some points, and none is to be held.
_ACTIONS: Final = "reject = 1000;\nadd_header = 900;\ngreylist = 999;\n"
_RECIPIENT: Final = f"{USERS[0]}@{DOMAINS[0]}"
_FORGED: Final = f"boss@{DOMAINS[0]}"
_SENDER: Final = "news@example.org"
_DELIVERED_S: Final = 60.0
_LOOK_S: Final = 0.02
_MAIL_BYTES: Final = 5_600
_LETTERS: Final = "etaoinshrdlucm"
_LEAST_DELIVERED: Final = 0.9
MOST_OF_POLICY, MOST_OF_SESSION = 1.0, 6.0

Cpu = dict[str, float]


class Round(NamedTuple):
    """CPU by part, in microseconds: of one refused session, of one scanned mail, of an idle second."""

    refused: Cpu
    scanned: Cpu
    idle_s: Cpu

    @property
    def of_policy(self) -> float:
        """The policy server's part of a refused session, in percent of a scanned mail."""
        return 100 * self.refused["policy server"] / sum(self.scanned.values())

    @property
    def of_session(self) -> float:
        """The whole refused session, in percent of a scanned mail."""
        return 100 * sum(self.refused.values()) / sum(self.scanned.values())


def main(argv: Sequence[str]) -> int:
    """Measure, and compare with what is promised."""
    parser = argparse.ArgumentParser(prog="python -m loadtest cost", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=at_least(2), default=12, help="rounds of both kinds in turn (default: %(default)s)")
    add("--sessions", type=at_least(1), default=300, help="refused sessions in a round (default: %(default)s)")
    add("--mails", type=at_least(1), default=60, help="scanned mails in a round (default: %(default)s)")
    add("--made", action="store_true", help="mails of random words, without the corpus, which npm fetches")
    arguments = parser.parse_args(argv)
    database = Path("build/rspamd")
    database.mkdir(parents=True, exist_ok=True)
    words = f"{arguments.rounds} rounds of {arguments.sessions} refused sessions and {arguments.mails} scanned mails"
    print("\n".join(heading_lines(heading(words))), flush=True)
    with traversable_directory() as base, Engine(base / "redis") as redis:
        site, port = GatewaySite(base, database, str(redis.socket_path), asks_names=True), free_port()
        site.postfix.append("main.cf", _MAIN)
        site.postfix.append("master.cf", _PORT.format(port=port))
        site.rspamd.write("local.d/actions.conf", _ACTIONS)
        with site:
            made = _made_mails() if arguments.made else _corpus_mails()
            measured = _Measured(site, port, redis, made, arguments.sessions, arguments.mails)
            rounds = measured.rounds(arguments.rounds)
            _check(site, measured.sent)
    return report(rounds)


class _Measured:
    """One site, and mails that differ from each other."""

    def __init__(
        self, site: GatewaySite, port: int, redis: Engine, made: Iterator[str], sessions: int, mails: int
    ) -> None:
        self._port, self._redis = port, redis
        self._site, self._sessions, self._mails = site, sessions, mails
        self._made = made
        self.sent = 0

    def rounds(self, count: int) -> list[Round]:
        """So many, after one of each kind that does not count."""
        self._verify()
        self._refuse_all()
        self._scan_all()
        return [self._round() for _ in range(count)]

    def _round(self) -> Round:
        refused, refused_s = self._spent(self._refuse_all)
        idle, idle_s = self._spent(lambda: time.sleep(refused_s))
        scanned, scanned_s = self._spent(self._scan_all)
        a_second = {part: us / idle_s for part, us in idle.items()}
        return Round(
            {part: (us - a_second[part] * refused_s) / self._sessions for part, us in refused.items()},
            {part: (us - a_second[part] * scanned_s) / self._mails for part, us in scanned.items()},
            a_second,
        )

    def _spent(self, what: Callable[[], None]) -> tuple[Cpu, float]:
        before, began_s = self._cpu(), time.monotonic()
        what()
        after, ended_s = self._cpu(), time.monotonic()
        return {part: us - before[part] for part, us in after.items()}, ended_s - began_s

    def _cpu(self) -> Cpu:
        site = self._site
        pids = {
            "policy server": site.policy.process.pid if site.policy.process else 0,
            "Postfix": site.postfix.pid,
            "rspamd": site.rspamd.pid,
            "store": site.store.pid,
            "redis": self._redis.process.pid if self._redis.process else 0,
        }
        return {part: tree_cpu_us(pid) for part, pid in pids.items()}

    def _refuse_all(self) -> None:
        for _ in range(self._sessions):
            code = self._session(_FORGED)
            if code != 554:
                raise SetupError(f"a forged mail got {code}, not 554")

    def _scan_all(self) -> None:
        for _ in range(self._mails):
            code = self._session(_SENDER, next(self._made))
            if code != 250:
                raise SetupError(f"a mail got {code}, not 250")
            self.sent += 1
        deadline = time.monotonic() + _DELIVERED_S
        while self._waiting():
            if time.monotonic() > deadline:
                raise SetupError("mails wait in the gateway's queue: see its log")
            time.sleep(_LOOK_S)

    def _waiting(self) -> bool:
        """Whether a mail is on its way; a file of each is in the queue until it is delivered."""
        queues = [self._site.postfix.queue / name for name in ("incoming", "active", "deferred")]
        return any(each.is_file() for queue in queues for each in queue.rglob("*"))

    def _verify(self) -> None:
        """Have the backend asked about the recipient before the first round."""
        deadline = time.monotonic() + _DELIVERED_S
        while (code := self._session(_SENDER)) != 250:
            if time.monotonic() > deadline:
                raise SetupError(f"the backend verifies no recipient: {code}")

    def _session(self, sender: str, mail: str = "") -> int:
        """The reply to RCPT, or to the mail."""
        with SmtpClient(self._port, first=_OUTSIDE) as session:
            session.ehlo()
            session.mail(sender)
            code = session.rcpt(_RECIPIENT).code
            return session.data(mail).code if mail else code


def _corpus_mails() -> Iterator[str]:
    """Ham of the public corpus, one after the other."""
    found = [each.raw.decode("utf-8", "surrogateescape") for each in mails(fetched(), "easy-ham-1", "ham", 2500)]
    for each in itertools.cycle(found):
        text = re.sub(r"(?m)^\.", "..", each)
        yield text if text.endswith("\r\n") else f"{text}\r\n"


def _made_mails() -> Iterator[str]:
    """Text and HTML of words that are never the same, as long as mails of the corpus are in the middle."""
    source = random.Random(7)
    for number in itertools.count():
        text = "\r\n".join(_words(source, 11) for _ in range(_MAIL_BYTES // 180))
        html = "".join(f"<p>{_words(source, 20)}</p>\r\n" for _ in range(_MAIL_BYTES // 380))
        yield (
            f"From: News <{_SENDER}>\r\nTo: <{_RECIPIENT}>\r\nSubject: {_words(source, 5)}\r\n"
            f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S +0000', time.gmtime())}\r\n"
            f"Message-ID: <{number}.{source.getrandbits(64)}@example.org>\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/alternative; boundary="part"\r\n\r\n'
            f"--part\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
            "--part\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
            f'<html><body>{html}<a href="https://example.org/{number}">more</a></body></html>\r\n--part--\r\n'
        )


def _words(source: random.Random, count: int) -> str:
    return " ".join("".join(source.choices(_LETTERS, k=source.randint(2, 9))) for _ in range(count))


def _check(site: GatewaySite, sent: int) -> None:
    """Nearly all were delivered: one that is held costs something else."""
    delivered = site.backend.count(*_RECIPIENT.split("@"))
    print(f"{sent} mails sent, {delivered} delivered, the others held", flush=True)
    if delivered < _LEAST_DELIVERED * sent:
        raise SetupError("too many mails are held to say what a delivered one costs")


def report(rounds: Sequence[Round]) -> int:
    """Print the tables; 1 where a promise is missed, else 0."""
    kinds: dict[str, tuple[str, Sequence[Cpu]]] = {
        "refused session": ("us", [each.refused for each in rounds]),
        "scanned mail": ("us", [each.scanned for each in rounds]),
        "idle second": ("us", [each.idle_s for each in rounds]),
    }
    parts = list(rounds[0].refused)
    head = " ".join(f"{part:>22}" for part in (*parts, "together"))
    print(f"{'CPU, least and median':<22} {head}")
    for name, (unit, found) in kinds.items():
        columns = [[each[part] for each in found] for part in parts] + [[sum(each.values()) for each in found]]
        cells = [f"{min(column):,.0f} {statistics.median(column):,.0f} {unit}" for column in columns]
        print(f"{name:<22} {' '.join(f'{cell:>22}' for cell in cells)}")
    missed = 0
    for what, shares, most in (
        ("the policy server's part of a refused session", [each.of_policy for each in rounds], MOST_OF_POLICY),
        ("a whole refused session", [each.of_session for each in rounds], MOST_OF_SESSION),
    ):
        least, median = min(shares), statistics.median(shares)
        verdict = "promised" if median <= most else "missed; promised"
        missed += median > most
        words = f"{least:.2f} % of a scanned mail at least, {median:.2f} % in the median"
        print(f"{what}: {words} ({verdict}: at most {most:g} %)")
    return 1 if missed else 0
