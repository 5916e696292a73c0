"""`make demo`: the founding use case on a server of its own, without root and without Postfix, and its console.

Compiles the sample tables of conf/, starts `forkpolicy serve` on a socket below demo/, sends what Postfix would ask
about eight mails, and shows each verdict with the rule and the table line that decided. Then, on a terminal, it has
the server decide a week of mail, starts the console, prints a link to it, and sends mail until the interrupt;
`DEMO_WAIT=no` in the environment ends it before. Exit code 1 if any verdict is not the expected.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.clients.policy_client import PolicyClient
from loadtest.errors import VerdictError
from loadtest.history.past_week import fill_past_week
from loadtest.servers.console import Console
from loadtest.servers.demo_site import CONF, demo_server, keep_sending
from loadtest.servers.ports import free_port
from loadtest.traffic.mail import Transaction, policy_request

if TYPE_CHECKING:
    from loadtest.servers.server import Server

HERE = Path("demo")
USUAL_PORT = 8025
NEEDED = ("argon2", "jinja2", "starlette", "uvicorn")
FORGED = "REJECT 5.7.1 Authentication required to send as example.com"
PASSED = "DUNNO"

# A mail as Postfix would describe it to the policy server, and the action that is right for it.
MAILS = (
    ("forged, from outside", Transaction("spoof", "203.0.113.5", "boss@example.com", ("staff@example.com",)), FORGED),
    ("forged, over IPv6", Transaction("spoof", "2001:db8:f00::5", "boss@example.com", ("staff@example.net",)), FORGED),
    (
        "forged, odd spelling",
        Transaction("spoof", "203.0.113.5", "No+One@Example.COM.", ("staff@example.com",)),
        FORGED,
    ),
    (
        "road warrior with AUTH",
        Transaction(
            "roaming", "203.0.113.77", "anna@example.com", ("staff@example.com",), login="anna", method="PLAIN"
        ),
        PASSED,
    ),
    ("a client inside", Transaction("inside", "192.0.2.40", "printer@example.com", ("staff@example.com",)), PASSED),
    (
        "mail from elsewhere",
        Transaction("inbound", "198.51.100.9", "friend@example.org", ("staff@example.com",)),
        PASSED,
    ),
    ("a bounce", Transaction("bounce", "198.51.100.9", "", ("staff@example.com",)), PASSED),
    ("through us to elsewhere", Transaction("relay", "203.0.113.5", "anna@example.com", ("x@example.org",)), PASSED),
)


def main(_argv: list[str]) -> int:
    """Run the demo; its exit code."""
    if not CONF.exists():
        print("run this in the checkout, where conf/ is: make demo", file=sys.stderr)
        return 2
    stays = os.environ.get("DEMO_WAIT", "yes" if sys.stdin.isatty() and sys.stdout.isatty() else "no") != "no"
    port = _port() if stays else USUAL_PORT
    server = demo_server(HERE.absolute(), port)
    server.compile()
    if stays:
        if missing := [name for name in NEEDED if not find_spec(name)]:
            print(f"the console needs {', '.join(missing)}: pip install 'forkpolicy[console]'", file=sys.stderr)
            return 2
        count = fill_past_week(server, server.directory / "decisions.json")
        print(f"the server has decided about a week of mail, {count} requests")
    with server:
        _verdicts(server)
        if not stays:
            print("The server has stopped. Next: README.md, conf/policy.conf.")
            return 0
        with contextlib.suppress(KeyboardInterrupt), Console(server, port) as console:
            _stay(server, console)
    print("\nThe server and its console have stopped. Next: README.md, docs/console.md.")
    return 0


def _verdicts(server: Server) -> None:
    """Show each. Raises VerdictError when one is not the expected."""
    print(f"a server with {HERE}/policy.conf serves {server.socket_path}\n")
    with PolicyClient(server.socket_path) as client:
        wrong = sum(not show(server, client, number, *row) for number, row in enumerate(MAILS))
    if wrong:
        raise VerdictError(f"{wrong} of {len(MAILS)} verdicts were not the expected ones")
    print(f"{len(MAILS)} of {len(MAILS)} verdicts as expected.")


def _stay(server: Server, console: Console) -> None:
    """Say where to look, and what to try there; go on until the interrupt."""
    link = console.add_account("demo", "--role", "admin")
    print(
        f"""
The console shows them. Open this link, which works once, and choose a password:

    {link}

Something to try there: Decisions has the mail of boss@example.com that was rejected. "Why" shows the rule and the line
of the table. "What if" proposes exceptions, and whom else they would let in. Apply one, and see the mail pass: it is
sent again every few seconds. Then undo it on the page Change.

Ctrl-C ends the demo.""",
        flush=True,
    )
    keep_sending(server, [mail for _, mail, _ in MAILS])


def _port() -> int:
    """The usual one of the console, if it is free."""
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", USUAL_PORT)):
        return USUAL_PORT
    return free_port()


def show(server: Server, client: PolicyClient, number: int, title: str, mail: Transaction, expected: str) -> bool:
    """Ask, print the verdict and why; whether it is the expected one."""
    request = policy_request(mail, mail.recipients[0], number)
    action = client.ask(request)
    print(f"{title}: {mail.client}, {mail.sender or '<>'} to {mail.recipients[0]}")
    print(f"  -> {action}")
    for line in because(server.command("explain", text=request.decode()).stdout):
        print(f"     {line}")
    right = action.casefold().rstrip(".") == expected.casefold()
    print("" if right else f"  EXPECTED {expected}\n")
    return right


def because(explained: str) -> list[str]:
    """What `forkpolicy explain` says below the action, with paths as they are from here."""
    return re.sub(r"[\w.]+/\.\./", "", explained.replace(f"{Path.cwd()}/", "")).splitlines()[1:]
