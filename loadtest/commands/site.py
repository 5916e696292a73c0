"""`site`: a whole gateway on loopback, to look at. `make gateway` runs this.

It says where its console is and where to send mail, with three commands that send some, and one that stops the
backend; on a terminal it stays until Ctrl-C, else it ends after its own three mails. Raises SetupError.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import smtplib
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadtest.errors import SetupError
from loadtest.servers.console import Console
from loadtest.servers.engine import Engine
from loadtest.servers.gateway_console import add_console, links
from loadtest.servers.gateway_site import DOMAINS, USERS, GatewaySite
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.rspamd import SPAM_WORD

if TYPE_CHECKING:
    from collections.abc import Sequence

_DATABASE: Final = Path("build/rspamd")
_CLIENT: Final = "203.0.113.9"
_VERIFIED_S: Final = 30.0
_HELD_S: Final = 10.0
_LOOK_S: Final = 0.5
_ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERRUPTED: Final = 130


def main(argv: Sequence[str]) -> int:
    """Start it, send three mails, wait. Status 1 where one of them was not decided as it is to be."""
    parser = argparse.ArgumentParser(prog="python -m loadtest site", description=__doc__)
    parser.parse_args(argv)
    for number in _ENDS:
        signal.signal(number, _end)
    try:
        return _run()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (SetupError, smtplib.SMTPException, OSError):
        # Ctrl-C ends its parts, too: what was being done with them fails in the same moment.
        if signal.getsignal(signal.SIGINT) is _end:
            raise
        return _INTERRUPTED


def _end(_number: int, _frame: object) -> None:
    """Ctrl-C, a terminal that is closed, kill: each stops every part, and a second one does not break that off."""
    for number in _ENDS:
        # No SIG_IGN: the programs that stop the parts would inherit it.
        signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt


def _run() -> int:
    _DATABASE.mkdir(parents=True, exist_ok=True)
    parts = "Postfix twice, Redis, forkpolicy, the store, the console, and rspamd"
    print(f"starting {parts} (its first start takes up to two minutes)", flush=True)
    with traversable_directory() as base, Engine(base / "redis") as redis:
        site, port = GatewaySite(base, _DATABASE, str(redis.socket_path)), free_port()
        add_console(site, port)
        with site, Console(site.policy, port) as console:
            wrong = sum(not _as_expected(site, *each) for each in _mails())
            _show(site, console)
            if sys.stdin.isatty():
                print("Ctrl-C ends all of it.", flush=True)
                with suppress(KeyboardInterrupt):
                    _stay(site)
            else:
                print("all of it ends now: it stays where standard input is a terminal", flush=True)
    return 1 if wrong else 0


def _stay(site: GatewaySite) -> None:
    """Until the interrupt; each USR1 stops the backend, or starts it again."""
    asked: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _frame: asked.append(number))
    is_running = True
    while True:
        # A signal ends no wait in Python: it is seen afterwards.
        select.select([], [], [], _LOOK_S)
        if site.store.has_ended:
            # As systemd does.
            site.store.start()
            print("the store has ended, and was started again", flush=True)
        if not asked:
            continue
        asked.clear()
        if is_running:
            site.backend.postfix.stop()
        else:
            site.backend.postfix.start()
            site.postfix.flush()
        is_running = not is_running
        print(f"the backend {'runs again, and gets what waits' if is_running else 'has stopped'}", flush=True)


def _mails() -> list[tuple[str, str, str, int, bool]]:
    """What, sender, text, the reply that is expected, and whether it is to be held."""
    return [
        ("a plain mail", "news@example.org", "hello", 250, False),
        ("mail from outside as one of our domains", "boss@example.com", "pay this", 554, False),
        ("spam", "spam@example.org", SPAM_WORD, 250, True),
    ]


def _as_expected(site: GatewaySite, what: str, sender: str, text: str, expected: int, to_hold: bool) -> bool:
    deadline = time.monotonic() + _VERIFIED_S
    while (reply := _send(site, sender, text, what))[0] == 450:
        # "Address verification in progress": smtpd(8) itself has waited some seconds for the backend.
        if time.monotonic() > deadline:
            raise SetupError(f"the backend verifies no recipient: {reply[1]}")
    print(f"{what}: {reply[0]} {reply[1]}")
    return reply[0] == expected and (not to_hold or _is_held(site, what))


def _is_held(site: GatewaySite, subject: str) -> bool:
    deadline = time.monotonic() + _HELD_S
    while time.monotonic() < deadline:
        if subject in site.store.ask("list").stdout:
            return True
    return False


def _send(site: GatewaySite, sender: str, text: str, subject: str) -> tuple[int, str]:
    with smtplib.SMTP("127.0.0.1", site.postfix.port, timeout=60) as session:
        session.ehlo()
        session.docmd("XCLIENT", f"ADDR={_CLIENT} NAME=mail.example.org")
        session.ehlo()
        session.mail(sender)
        code, words = session.rcpt(f"{USERS[0]}@{DOMAINS[0]}")
        if code == 250:
            code, words = session.data(f"From: <{sender}>\r\nSubject: {subject}\r\n\r\n{text}\r\n".encode())
        return code, words.decode(errors="replace")


def _show(site: GatewaySite, console: Console) -> None:
    """Where to look, and commands."""
    users = ", ".join(f"{user}@{domain}" for domain in DOMAINS for user in USERS)
    swaks = f"swaks --server 127.0.0.1:{site.postfix.port} --to {USERS[0]}@{DOMAINS[0]} --xclient-addr {_CLIENT}"
    program = Path(sys.executable).with_name("forkpolicy")
    held, gateway = f"{program} held -c {site.store.settings}", f"{program} gateway"
    people = "\n".join(f"    {name:<6} {link}" for name, link in links(console).items())
    print(f"""
the console: {console.origin}, for people with these links, each of which works once:
{people}
mail to {users}: port {site.postfix.port}
    {swaks} --from news@example.org
    {swaks} --from boss@{DOMAINS[0]}
    {swaks} --from spam@example.org --body {SPAM_WORD}
delivered mail: {site.backend.mailboxes}
held mail:
    {held} list
    {held} show 1
    {held} release 1
    {held} ledger
digests of what is held: who is due, and send them (each arrives in the mailbox of its person):
    {gateway} digest -c {site.store.settings} --list
    {gateway} digest -c {site.store.settings}
what is wrong with it:
    {gateway} check -c {site.store.settings} --postfix {site.place.postfix}
stop the backend, and start it again:
    kill -USR1 {os.getpid()}
kill the store, which is started again:
    kill -KILL {site.store.pid}
logs: {site.postfix.log}, {site.policy.log}, {site.store.log}, {site.rspamd.log}""", flush=True)  # fmt: skip
