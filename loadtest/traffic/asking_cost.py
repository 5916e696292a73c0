"""Policies and requests by which the cost of an ACL that asks is measured, and the same policies without it.

Every request has the same right reply with the ACL and without it. What a name server must have for them is in
servers/bench_names.py.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from loadtest.traffic import counted
from loadtest.traffic.mail import Transaction, policy_request

LIST: Final = "list.example"
# They have nobody.
EMPTY_LIST: Final = "empty.example"
FRESH_LIST: Final = "fresh.example"
SPF_DOMAIN: Final = "spf.example"
CLIENTS: Final = 200

_NOTHING: Final = """\
acl    stranger client_address 198.18.0.0/15
acl    nobody   sender nobody@example.com
action refuse   REJECT 5.7.1 Listed
action note     PREPEND X-Note: known
"""
REFUSED: Final = b"action=REJECT 5.7.1 Listed\n\n"
NOTED: Final = b"action=PREPEND X-Note: known\n\n"
PASSED: Final = b"action=DUNNO\n\n"


class Job(NamedTuple):
    """One ACL. `without`: the same policy without it; `asks`: whether it needs an engine or a name server."""

    name: str
    without: str
    policy: str
    requests: list[tuple[bytes, bytes]]
    asks: str


def jobs() -> list[Job]:
    """All of them."""
    fresh = [_request(number, "news@x[SERIAL].example", PASSED) for number in range(CLIENTS)]
    listed = [_request(number, "news@shop.example", REFUSED) for number in range(CLIENTS)]
    unlisted = [_request(number, "news@shop.example", PASSED) for number in range(CLIENTS)]
    known = [_request(number, f"a[SERIAL]b@{SPF_DOMAIN}", NOTED) for number in range(CLIENTS)]
    return [
        Job(
            "rate of two windows in the engine",
            counted.WITHOUT_LIMIT,
            counted.LIMIT,
            counted.new_messages(counted.PASSED),
            "engine",
        ),
        Job(
            "DNS list, cached: in no list",
            _NOTHING + "access nobody refuse\n",
            _NOTHING + f"acl listed rbl {EMPTY_LIST}\naccess listed refuse\n",
            unlisted,
            "names",
        ),
        Job(
            "DNS list, cached: listed",
            _NOTHING + "access stranger refuse\n",
            _NOTHING + f"acl listed rbl {LIST}\naccess listed refuse\n",
            listed,
            "names",
        ),
        Job(
            "DNS list, asked for each request",
            _NOTHING + "access nobody refuse\n",
            _NOTHING + f"acl listed rhsbl {{sender}} {FRESH_LIST}\naccess listed refuse\n",
            fresh,
            "names",
        ),
        Job(
            "SPF pass, cached DNS answers",
            _NOTHING + "access stranger note\n",
            _NOTHING + "acl known spf pass\naccess known note\n",
            known,
            "names",
        ),
    ]


def _request(number: int, sender: str, right: bytes) -> tuple[bytes, bytes]:
    mail = Transaction("stranger", f"198.18.{number}.7", sender, (f"person{number}@example.com",))
    return policy_request(mail, mail.recipients[0], number), right
