"""Requests that a server must remember: triplets that nobody has seen before, and messages of logins.

Each has a SERIAL in it, which the generator makes another one for every request (clients/generator.py). Policies of
forkpolicy for the same jobs, and the replies that are right. Knows no server.
"""

from __future__ import annotations

from typing import Final

from loadtest.traffic.mail import SERIAL, Transaction, policy_request

CLIENTS: Final = 250
LOGINS: Final = 250
# No run reaches the limit of a login: what it costs to count is measured.
UNREACHED: Final = 100_000_000
PROBE: Final = "probe@example.com"
PROBE_LIMIT: Final = 5
SLOW: Final = b"action=DEFER_IF_PERMIT 4.7.1 Too much mail"
LATER: Final = b"action=DEFER_IF_PERMIT 4.2.0 Greylisted"
PASSED: Final = b"action=DUNNO\n\n"

NOTHING: Final = """\
acl    signed_in authenticated
acl    stranger  client_address 198.18.0.0/15
action later     DEFER_IF_PERMIT 4.2.0 Greylisted
action slow      DEFER_IF_PERMIT 4.7.1 Too much mail
"""
WITHOUT_GREYLISTING: Final = NOTHING + "access !signed_in stranger later\n"
GREYLISTING: Final = NOTHING + "acl new_here greylisting delay=1d\naccess !signed_in stranger new_here later\n"
# No request that is measured is the probe's.
WITHOUT_LIMIT: Final = NOTHING + f"acl probe sasl_username {PROBE}\naccess signed_in probe slow\n"
LIMIT: Final = NOTHING + f"acl busy rate {{sasl_username}} {UNREACHED}/1h {UNREACHED}/1d\naccess signed_in busy slow\n"
# The same with a limit of its own for the probe.
TABLE_OF_LIMITS: Final = "table limits key limits\n" + LIMIT.replace("/1d", "/1d limits=table:limits")
LIMIT_SOURCES: Final = {"limits": f"{PROBE} {PROBE_LIMIT}/1h 1000/1d\n"}


def new_triplets(right: bytes) -> list[tuple[bytes, bytes]]:
    """Mail of strangers, each request a sender whom nobody has seen; `right`: what the right reply begins with."""
    requests = []
    for number in range(CLIENTS):
        client, recipient = f"198.18.{number}.7", f"person{number % 40}@example.com"
        # Between letters: a whole number would be folded.
        mail = Transaction("stranger", client, f"news-[SERIAL]x@shop{number}.example", (recipient,))
        requests.append((policy_request(mail, recipient, number), right))
    return requests


def new_messages(right: bytes) -> list[tuple[bytes, bytes]]:
    """A message of a login in each request."""
    return [(_message(f"user{number}@example.com", number), right) for number in range(LOGINS)]


def probe_messages() -> list[bytes]:
    """More messages of one login than its limit lets pass."""
    texts = [_message(PROBE, number) for number in range(PROBE_LIMIT + 3)]
    return [text.replace(SERIAL, b"probe%03d" % number) for number, text in enumerate(texts)]


def _message(login: str, number: int) -> bytes:
    recipient = f"friend{number}@example.org"
    mail = Transaction("login", f"198.18.{number % 250}.9", login, (recipient,), login=login, method="PLAIN")
    text = policy_request(mail, recipient, number)
    before, _, rest = text.partition(b"\ninstance=")
    return before + b"\ninstance=" + SERIAL + b".6b066073.0\n" + rest.partition(b"\n")[2]
