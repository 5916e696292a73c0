"""`make demo`: the founding use case on a server of its own, without root and without Postfix.

Compiles the sample tables of conf/, starts `forkpolicy serve` on a socket below demo/, sends what Postfix would ask
about eight mails, and shows each verdict with the rule and the table line that decided. Exit code 1 if any verdict
is not the expected.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from loadtest.clients.policy_client import PolicyClient
from loadtest.errors import VerdictError
from loadtest.servers.server import Server
from loadtest.traffic.mail import Transaction, policy_request

HERE = Path("demo")
POLICY = Path("conf/demo/policy.conf")
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
    if not POLICY.exists():
        print("run this in the checkout, where conf/ is: make demo", file=sys.stderr)
        return 2
    shutil.rmtree(HERE, ignore_errors=True)
    with Server(HERE.absolute(), POLICY.absolute()) as server, PolicyClient(server.socket_path) as client:
        print(f"a server with {POLICY} serves {server.socket_path}\n")
        wrong = sum(not show(server, client, number, *row) for number, row in enumerate(MAILS))
    if wrong:
        raise VerdictError(f"{wrong} of {len(MAILS)} verdicts were not the expected ones")
    print(
        f"{len(MAILS)} of {len(MAILS)} verdicts as expected; the server has stopped. Next: README.md, conf/policy.conf."
    )
    return 0


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
