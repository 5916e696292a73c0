"""From a profile to its day: the tables of its site, and every mail with its time and its right verdicts.

The same profile and seed give the same day, mail by mail, in any process and at any speed. Five million mails are
never in memory at once.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.errors import SetupError
from loadtest.traffic.mail import policy_request
from loadtest.traffic.mail_kinds import KINDS, Site
from loadtest.traffic.oracle import Oracle
from loadtest.traffic.remembering import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.traffic.mail import Transaction
    from loadtest.traffic.profile import Profile

HOUR_S, DAY_S = 3600, 86400
# What forkpolicy's right replies begin with.
REFUSED = b"action=REJECT 5.7.1 Authentication required to send as "
PASSED = b"action=DUNNO\n\n"
POLICY = """\
table  local_networks  cidr    local-networks.cidr
table  local_domains   domain  local-domains

acl    from_inside     client_address  table:local_networks
acl    from_us         sender          table:local_domains
acl    to_us           recipient       table:local_domains
acl    signed_in       authenticated
action prove_it        REJECT 5.7.1 Authentication required to send as {sender_domain}
access !from_inside from_us to_us !signed_in prove_it
"""


@dataclass(frozen=True, slots=True)
class Timed:
    """A mail, when in the day it comes, and for each recipient whether a refusal is right."""

    number: int
    at_s: float
    mail: Transaction
    refused: tuple[bool, ...]


class Day:
    """One day of a profile, or a part of it: the same mails in the same order as in the whole."""

    def __init__(self, profile: Profile, between: str = "") -> None:
        """Make up the rest of its tables. `between` is a part such as 09:00-09:05; SetupError where it is none."""
        self.profile = profile
        self.begin_s, self.end_s = part_of_day(between) if between else (0, DAY_S)
        self.domains = [*profile.domains, *(f"customer{n}.example" for n in range(profile.extra_domains))]
        self.networks = [*profile.networks, *(_network(n) for n in range(profile.extra_networks))]
        self.oracle = Oracle(self.networks, self.domains)

    @property
    def remembers(self) -> bool:
        """Whether replies depend on what came before: then they are judged when the run is over."""
        return self.profile.policy == "remembering"

    @property
    def policy(self) -> str:
        """What the server must decide by."""
        return POLICY + RULES if self.remembers else POLICY

    @property
    def sources(self) -> dict[str, str]:
        """The source files of the tables that POLICY names."""
        return {
            "local-networks.cidr": "".join(f"{network}\n" for network in self.networks),
            "local-domains": "".join(f"{domain}\n" for domain in self.domains),
        }

    def mails(self) -> Iterator[Timed]:
        """The day from midnight to midnight, or the part of it."""
        whole, passed = sum(self.profile.hours), 0.0
        for hour, weight in enumerate(self.profile.hours):
            first = round(self.profile.transactions * passed / whole)
            passed += weight
            after = round(self.profile.transactions * passed / whole)
            if self.begin_s < (hour + 1) * HOUR_S and hour * HOUR_S < self.end_s:
                for timed in self._hour(hour, range(first, after)):
                    if timed.at_s >= self.end_s:
                        return
                    if timed.at_s >= self.begin_s:
                        yield timed

    def _hour(self, hour: int, numbers: range) -> Iterator[Timed]:
        """One hour, whose mails come evenly. It has a chance of its own: no other hour is needed to make it."""
        rng = random.Random(f"{self.profile.seed} {hour}")
        site = Site(rng, self.domains, self.networks, self.profile.outside)
        kinds, weights = list(self.profile.shares), list(self.profile.shares.values())
        for place, number in enumerate(numbers):
            kind = rng.choices(kinds, weights)[0]
            mail = KINDS[kind](site)
            refused = tuple(self.oracle.refuses(mail, recipient) for recipient in mail.recipients)
            yield Timed(number, (hour + place / len(numbers)) * HOUR_S, mail, refused)

    def requests(self) -> list[tuple[bytes, bytes]]:
        """The day as policy requests, each with what the right reply begins with, for generators that send bytes."""
        return [
            (policy_request(timed.mail, recipient, timed.number), REFUSED if refuse else PASSED)
            for timed in self.mails()
            for recipient, refuse in zip(timed.mail.recipients, timed.refused, strict=True)
        ]


def part_of_day(text: str) -> tuple[int, int]:
    """09:00-09:05 in seconds from midnight."""
    found = re.fullmatch(r"(\d\d?):(\d\d)-(\d\d?):(\d\d)", text)
    if not found:
        raise SetupError(f"{text} is not a part of a day: expected two times such as 09:00-09:05")
    hours, minutes, until_hours, until_minutes = map(int, found.groups())
    begin_s, end_s = (60 * hours + minutes) * 60, (60 * until_hours + until_minutes) * 60
    if max(minutes, until_minutes) > 59 or not begin_s < end_s <= DAY_S:
        raise SetupError(f"{text} is not a part of a day: expected an earlier and a later time, at most 24:00")
    return begin_s, end_s


def _network(number: int) -> str:
    """A customer's network: every fourth one is IPv6."""
    block, number = divmod(number, 65536)
    if number % 4 == 3:
        return f"fd{block:02x}:{number:x}::/32"
    return f"{10 + block}.{number // 256}.{number % 256}.0/24"
