"""`corpus`: a public corpus of ham and spam through a whole gateway: what is held, and whether anything is lost.

It is traffic/public_corpus.py's. Half of the mails that are sent are ham (the first of easy-ham-1), half spam (spam-2);
what is learnt before is of easy-ham-2 and spam-1. Each mail has an envelope sender of its own, by which it is found.

Status 1 where a mail is lost, or delivered and held. Raises SetupError.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import signal
import smtplib
import subprocess
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadtest.errors import SetupError
from loadtest.measure.processes import cpu_us, descendants
from loadtest.servers.engine import Engine
from loadtest.servers.gateway_site import DOMAINS, USERS, GatewaySite
from loadtest.servers.postfix import traversable_directory
from loadtest.traffic.public_corpus import Mail, fetched
from loadtest.traffic.public_corpus import mails as corpus_mails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_BUILD: Final = Path("build")
_CLIENT: Final = "203.0.113.9"
_RECIPIENT: Final = f"{USERS[0]}@{DOMAINS[0]}"
_SENDER: Final = re.compile(r"Return-Path: <((?:ham|spam)-\d+)@")
_SETTLED_S: Final = 300.0
_LOOK_S: Final = 0.5
_DISK_BYTES: Final = 64 << 20


def main(argv: Sequence[str]) -> int:
    """Fetch, learn, send, count."""
    parser = argparse.ArgumentParser(prog="python -m loadtest corpus", description=__doc__)
    add = parser.add_argument
    add("--mails", type=int, default=600, help="mails to send, half of them spam (default: %(default)s)")
    add("--learn", type=int, default=250, help="mails of each kind that are learnt before (default: %(default)s)")
    add("--kill-store-every", type=float, default=0.0, metavar="S", help="kill the store so often meanwhile")
    add("--full-disk", type=float, default=0.0, metavar="S", help="the store's disk is full for so long meanwhile")
    add("--backend-away", action="store_true", help="the backend is stopped while mail is sent")
    arguments = parser.parse_args(argv)
    data = fetched()
    half = arguments.mails // 2
    mails = [*corpus_mails(data, "easy-ham-1", "ham", half), *corpus_mails(data, "spam-2", "spam", half)]
    with (
        traversable_directory() as base,
        Engine(base / "redis") as engine,
        _small_disk(base / "held", wanted=bool(arguments.full_disk)) as disk,
        GatewaySite(base, _BUILD / "rspamd", redis=str(engine.socket_path)) as site,
    ):
        _verify(site)
        _learn(site, data, arguments.learn)
        spent_us = _cpu(site)
        accepted = _send_all(site, mails, arguments, disk)
        spent_us = {name: us - spent_us[name] for name, us in _cpu(site).items()}
        found = _settle(site, accepted)
        print(f"deliveries to the store that were put off: {_put_off(site)}; store killed {_killed(site)} times")
    return _report(accepted, found, spent_us, len(mails))


@contextmanager
def _small_disk(path: Path, *, wanted: bool) -> Iterator[Path]:
    """A file system of its own for the store."""
    if not wanted:
        yield path
        return
    path.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["/bin/umount", path], check=True)


def _verify(site: GatewaySite) -> None:
    """Have the backend asked about the recipient before the first mail."""
    deadline = time.monotonic() + _SETTLED_S
    while not _send(site, Mail("probe-0", b"Subject: probe\r\n\r\n")):
        if time.monotonic() > deadline:
            raise SetupError("the backend verifies no recipient")


def _learn(site: GatewaySite, data: Path, count: int) -> None:
    done: Counter[str] = Counter()
    for group, command in (("easy-ham-2", "learnham"), ("spam-1", "learnspam")):
        for mail in corpus_mails(data, group, "learn", count):
            connection = http.client.HTTPConnection("127.0.0.1", site.rspamd.controller, timeout=60)
            connection.request("POST", f"/{command}", mail.raw)
            done[f"{command} {connection.getresponse().status}"] += 1
            connection.close()
    print(f"learnt: {dict(done)}", flush=True)


def _send_all(site: GatewaySite, mails: Sequence[Mail], arguments: argparse.Namespace, disk: Path) -> list[Mail]:
    """Those that the gateway has accepted."""
    with ExitStack() as stack:
        if arguments.kill_store_every:
            stack.enter_context(_meanwhile(_kill_store, site, arguments.kill_store_every))
        if arguments.full_disk:
            stack.enter_context(_meanwhile(_fill, disk / "filler", arguments.full_disk))
        if arguments.backend_away:
            site.backend.postfix.stop()
            stack.callback(site.backend.postfix.start)
        return [mail for mail in mails if _send(site, mail)]


@contextmanager
def _meanwhile(what: Callable[..., None], *arguments: object) -> Iterator[None]:
    """In a thread, which gets an event besides that is set when it is to end; it is waited for."""
    ended = threading.Event()
    thread = threading.Thread(target=what, args=(*arguments, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _fill(path: Path, for_s: float, _ended: threading.Event) -> None:
    """Fill a file system for so long, also where all mail has been sent before."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    print(f"the store's disk is full for {for_s:g} s", flush=True)
    threading.Event().wait(for_s)
    path.unlink()


def _kill_store(site: GatewaySite, every_s: float, ended: threading.Event) -> None:
    while not ended.wait(every_s):
        site.store.end(signal.SIGKILL)
        site.store.start()


def _send(site: GatewaySite, mail: Mail) -> bool:
    with smtplib.SMTP("127.0.0.1", site.postfix.port, timeout=60) as session:
        session.ehlo()
        session.docmd("XCLIENT", f"ADDR={_CLIENT} NAME=mail.example.org")
        session.ehlo()
        session.mail(f"{mail.name}@corpus.example.org")
        return session.rcpt(_RECIPIENT)[0] == 250 and session.data(mail.raw)[0] == 250


def _settle(site: GatewaySite, accepted: Sequence[Mail]) -> tuple[Counter[str], Counter[str]]:
    """How often each mail was delivered, and how often it is held, once each is somewhere or it takes too long."""
    deadline = time.monotonic() + _SETTLED_S
    while True:
        site.postfix.flush()
        delivered, held = Counter(_delivered(site)), Counter(_held(site))
        if all(delivered[mail.name] or held[mail.name] for mail in accepted) or time.monotonic() > deadline:
            return delivered, held
        threading.Event().wait(_LOOK_S)


def _put_off(site: GatewaySite) -> int:
    """How often Postfix had to keep a mail for the store."""
    lines = site.postfix.log_text().splitlines()
    return sum("/quarantine/lmtp[" in line and "status=deferred" in line for line in lines)


def _killed(site: GatewaySite) -> int:
    """As the store knows it."""
    return int(json.loads(site.store.ask("ledger", "--json").stdout)["unclean_ends"])


def _delivered(site: GatewaySite) -> Iterator[str]:
    for raw in site.backend.mails(*_RECIPIENT.split("@")):
        if found := _SENDER.match(raw[:200].decode("latin-1")):
            yield found[1]


def _held(site: GatewaySite) -> Iterator[str]:
    done = site.store.ask("list", "--json", "--most", "1000")
    for row in json.loads(done.stdout or '{"rows": []}')["rows"]:
        yield row["sender"].partition("@")[0]


def _cpu(site: GatewaySite) -> dict[str, float]:
    """CPU so far of the scanner and of the policy server, in microseconds. Postfix's processes come and go."""
    pids = {"rspamd": site.rspamd.pid, "forkpolicy": site.policy.process.pid if site.policy.process else 0}
    return {name: cpu_us([pid, *descendants(pid)]) for name, pid in pids.items()}


def _report(
    accepted: Sequence[Mail], found: tuple[Counter[str], Counter[str]], spent_us: dict[str, float], sent: int
) -> int:
    delivered, held = found
    lost = [mail.name for mail in accepted if not delivered[mail.name] and not held[mail.name]]
    both = [mail.name for mail in accepted if delivered[mail.name] and held[mail.name]]
    twice = [mail.name for mail in accepted if delivered[mail.name] > 1 or held[mail.name] > 1]
    print(
        f"sent {sent}, accepted {len(accepted)}; lost {len(lost)}, delivered and held {len(both)}, twice {len(twice)}"
    )
    for kind, is_spam in (("ham", False), ("spam", True)):
        of_kind = [mail.name for mail in accepted if mail.is_spam is is_spam]
        kept = sum(held[name] > 0 for name in of_kind)
        print(f"{kind}: {len(of_kind)} accepted, {kept} held ({100 * kept / max(1, len(of_kind)):.1f} %)")
    for name, us in spent_us.items():
        print(f"CPU of {name}: {us / max(1, sent) / 1000:.2f} ms a mail")
    return 1 if lost or both or twice else 0
