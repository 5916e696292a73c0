"""What a listing of the queue comes to: counts by domain, reason and queue, and the oldest mails of each. Pure.

However long the queue is, and whatever stands in it, so many groups and so many mails of each are kept and no more.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.tables.keys import fold_domain, split_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from forkpolicy.postfix.queued_mail import QueuedMail, Waiting

MOST_GROUPS: Final = 1000
MOST_OF_GROUP: Final = 20
# For what has no group of its own any more.
OTHERS: Final = "(others)"
# The upper bounds of all ages but the last, in seconds: ten minutes, an hour, a day.
AGES_S: Final = (600, 3600, 86_400)
_LONGEST_REASON: Final = 200
_MOST_NAMED: Final = 3
# What differs from mail to mail.
_ADDRESS: Final = re.compile(r"<[^<>\s]*>")
_ID: Final = re.compile(r"\b(?=[A-Za-z]*\d)[A-Za-z0-9]{8,64}\b", re.ASCII)
_PEER: Final = re.compile(
    r"(?:connect to|host|conversation with|session with|connection with) (\S{1,255}\[[^\[\]\s]{1,45}\](?::\d{1,5})?)",
    re.IGNORECASE,
)
# Why no reason stands there, by the name of the queue.
_WITHOUT_REASON: Final = {
    "active": "being delivered",
    "incoming": "has just come",
    "maildrop": "pickup(8) has not come for it yet",
    "hold": "put on hold",
}


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """A mail that waits, with some of its recipients and how many there are."""

    arrived_s: int
    queue_id: str
    queue: str
    sender: str
    size_bytes: int
    recipients: tuple[str, ...]
    recipient_count: int
    reason: str


@dataclass(slots=True)
class Group:
    """Recipients that wait, by age, and their oldest mails. `peer`: a server that a reason names."""

    mails: int = 0
    recipients: int = 0
    oldest_s: int = 0
    ages: list[int] = field(default_factory=lambda: [0] * (len(AGES_S) + 1))
    reasons: dict[str, int] = field(default_factory=dict)
    peer: str = ""
    _kept: list[tuple[int, int, Row]] = field(default_factory=list)

    def add(self, mail: QueuedMail, waiting: Sequence[Waiting], age: int, number: int) -> None:
        """Some recipients of a mail, which is of that age (a place in `ages`) and the number-th of all."""
        self.mails += 1
        self.recipients += len(waiting)
        self.oldest_s = min(self.oldest_s or mail.arrived_s, mail.arrived_s)
        self.ages[age] += len(waiting)
        for each in waiting:
            self._count(reason_of(mail, each))
            self.peer = self.peer or peer_of(each.reason)
        entry = (-mail.arrived_s, -number, row_of(mail, waiting))
        if len(self._kept) < MOST_OF_GROUP:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def _count(self, reason: str) -> None:
        name = reason if reason in self.reasons or len(self.reasons) < MOST_OF_GROUP else OTHERS
        self.reasons[name] = self.reasons.get(name, 0) + 1

    @property
    def rows(self) -> list[Row]:
        """The oldest mails, the oldest first."""
        return sorted(row for _, _, row in self._kept)

    @property
    def main_reason(self) -> str:
        """Why most of them wait."""
        return max(self.reasons, key=lambda each: self.reasons[each], default="")


@dataclass(slots=True)
class Figures:
    """Of what was read until now; ages are those at `now_s`."""

    now_s: float
    whole: Group = field(default_factory=Group)
    domains: dict[str, Group] = field(default_factory=dict)
    reasons: dict[str, Group] = field(default_factory=dict)
    queues: dict[str, Group] = field(default_factory=dict)

    def add(self, mail: QueuedMail) -> None:
        """One mail more."""
        number = self.whole.mails
        age = sum(self.now_s - mail.arrived_s >= age_s for age_s in AGES_S)
        self.whole.add(mail, mail.recipients, age, number)
        _group(self.queues, mail.queue).add(mail, mail.recipients, age, number)
        for domain, waiting in _parted(mail.recipients, domain_of).items():
            _group(self.domains, domain).add(mail, waiting, age, number)
        for reason, waiting in _parted(mail.recipients, lambda each: reason_of(mail, each)).items():
            _group(self.reasons, reason).add(mail, waiting, age, number)


def domain_of(waiting: Waiting) -> str:
    """The domain of a recipient, folded; empty: it has none."""
    return fold_domain(split_address(waiting.address)[1])


def reason_of(mail: QueuedMail, waiting: Waiting) -> str:
    """Why it waits, without what differs from mail to mail."""
    text = _ID.sub("...", _ADDRESS.sub("<...>", waiting.reason))
    return text[:_LONGEST_REASON] or _WITHOUT_REASON.get(mail.queue, "not tried yet")


def peer_of(reason: str) -> str:
    """The server that a reason names, as `mail.example.com[192.0.2.1]:25`; empty: none."""
    found = _PEER.search(reason)
    return found[1] if found else ""


def row_of(mail: QueuedMail, waiting: Sequence[Waiting]) -> Row:
    """A mail, with these of its recipients."""
    named = tuple(each.address for each in waiting[:_MOST_NAMED])
    reason = waiting[0].reason if waiting else ""
    return Row(mail.arrived_s, mail.queue_id, mail.queue, mail.sender, mail.size_bytes, named, len(waiting), reason)


def _group(groups: dict[str, Group], name: str) -> Group:
    return groups.setdefault(name if name in groups or len(groups) < MOST_GROUPS else OTHERS, Group())


def _parted(recipients: Iterable[Waiting], name_of: Callable[[Waiting], str]) -> dict[str, list[Waiting]]:
    parts: dict[str, list[Waiting]] = {}
    for each in recipients:
        parts.setdefault(name_of(each), []).append(each)
    return parts
