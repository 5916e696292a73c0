"""Requests that ask an engine or the DNS, others that need nothing, policies for them, and what the right replies are.

The oracle knows what the name server has and does, and what a limit is; it shares no line with the product. A reply
about a DNS list is right or wrong by itself. Of a limit the whole phase is judged, by an exact log (remembered.py);
where an engine failed meanwhile, by how many may have passed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from loadtest.traffic.mail import Transaction, policy_request
from loadtest.traffic.remembered import Event, wrong_limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ZONE: Final = "list.example"
LIMIT: Final = 40
WINDOW_S: Final = 3600.0
PASSED: Final = "DUNNO"
LISTED: Final = "REJECT 5.7.1 Listed"
SLOW: Final = "DEFER_IF_PERMIT 4.7.1 Too much mail"
FAILED: Final = "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"

# The first rule decides for the clients that need nothing, before anything is asked.
NOTHING: Final = """\
acl    inside    client_address 198.19.0.0/16
acl    signed_in authenticated
action let_pass  DUNNO
access inside let_pass
"""
COUNTING: Final = (
    NOTHING
    + f"""\
acl    busy      rate {{sasl_username}} {LIMIT}/1h 100000/1d
action slow      {SLOW}
access signed_in busy slow
"""
)
LOOKING: Final = (
    NOTHING
    + f"""\
acl    listed    rbl {ZONE}
action refuse    {LISTED}
access listed refuse
"""
)


class Asked(NamedTuple):
    """One question. `right`: the replies of which one must come; `key`: whose limit it is about, and `value` which
    message.
    """

    request: bytes
    right: frozenset[str]
    key: str
    value: str


class Answered(NamedTuple):
    """A question and its reply; times are of the wall clock, seconds since 1970."""

    asked: Asked
    asked_s: float
    answered_s: float
    action: str


def plain_requests(count: int = 200) -> list[tuple[bytes, bytes]]:
    """Requests that need nothing, each with what its reply begins with."""
    requests = []
    for number in range(count):
        mail = Transaction(
            "inside", f"198.19.{number}.7", f"anna{number}@example.com", (f"friend{number}@example.org",)
        )
        requests.append((policy_request(mail, mail.recipients[0], number), f"action={PASSED}\n\n".encode()))
    return requests


def is_listed(number: int) -> bool:
    """Whether the list has the client of a question with this number."""
    return number % 2 == 1


def address(number: int) -> str:
    """The client of a question: each another one, so that no cache knows it."""
    return f"198.18.{number >> 8 & 255}.{number & 255}"


def queried_name(number: int) -> str:
    """The name that a DNS list is asked for about it."""
    return f"{'.'.join(reversed(address(number).split('.')))}.{ZONE}"


def look_ups(numbers: Iterator[int], *, is_known: bool) -> Iterator[Asked]:
    """Clients that nobody has asked about. `is_known`: whether the list is to be believed and answers in time."""
    for number in numbers:
        right = LISTED if is_known and is_listed(number) else PASSED
        mail = Transaction("stranger", address(number), "news@shop.example", ("person@example.com",))
        yield Asked(policy_request(mail, mail.recipients[0], number), frozenset((right,)), "", "")


def messages(login: str, numbers: Iterator[int], *, may_fail: bool) -> Iterator[Asked]:
    """Messages of one login. `may_fail`: whether the engine may be gone."""
    right = frozenset((PASSED, SLOW, FAILED) if may_fail else (PASSED, SLOW))
    for number in numbers:
        mail = Transaction("login", "203.0.113.9", login, ("friend@example.org",), login=login, method="PLAIN")
        yield Asked(policy_request(mail, mail.recipients[0], number), right, login, str(number))


def numbers() -> Iterator[int]:
    """From 1 on, for all questions of a run together."""
    return itertools.count(1)


def wrong_replies(answered: Iterable[Answered]) -> Iterator[str]:
    """Each reply that none of the right ones is."""
    for each in answered:
        if each.action not in each.asked.right:
            client = each.asked.request.partition(b"client_address=")[2].partition(b"\n")[0].decode()
            yield f"{client}: {each.action!r} instead of {' or '.join(sorted(each.asked.right))}"


def wrong_counts(answered: Sequence[Answered], lives: int = 1) -> Iterator[str]:
    """What a limit cannot have done. `lives`: how often the engine began anew, the first time included."""
    by_key: dict[str, list[Answered]] = {}
    for each in answered:
        by_key.setdefault(each.asked.key, []).append(each)
    for key, of_key in by_key.items():
        counts = Counter(each.action for each in of_key)
        if lives == 1 and not counts[FAILED]:
            yield from wrong_limits((_event(each) for each in of_key), [(LIMIT, WINDOW_S)])
        if counts[PASSED] > lives * LIMIT:
            yield f"{key}: {counts[PASSED]} passed, and {lives * LIMIT} may"
        # A message whose answer was lost may have counted, once.
        if counts[SLOW] and counts[PASSED] + counts[FAILED] < LIMIT:
            yield f"{key}: refused though only {counts[PASSED]} passed and {counts[FAILED]} failed: some counted twice"


def _event(each: Answered) -> Event:
    words = f"{each.asked.key}, message {each.asked.value}"
    return Event(each.asked.key, each.asked.value, each.asked_s, each.answered_s, each.action == SLOW, words)
