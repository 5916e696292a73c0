"""A day of a site behind a gateway: its people, their lists, the mail that comes, and what they do with held mail.

Pure, and the same for the same seed. A day has 24 hours; lists change at the beginning of each, so that who decides
about a mail of an hour knows the lists of that hour. Mail of some kinds has several recipients, whose fates differ.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.traffic.gateway_oracle import Pair

# Mail of each hour, from eight in the morning on: two peaks, and a quiet night.
_BY_HOUR: Final = (14, 18, 17, 15, 11, 13, 16, 16, 14, 11, 8, 6, 5, 5, 4, 3, 2, 1, 1, 1, 1, 2, 4, 8)
HOURS: Final = len(_BY_HOUR)
# Shares of the kinds of mail, in percent.
SHARES: Final = {
    "plain": 38,
    "friend": 5,
    "inside": 4,
    "bounce": 2,
    "forged": 14,
    "guessed": 10,
    "blocked": 6,
    "spam": 12,
    "welcome spam": 3,
    "welcome forged": 2,
    "strange": 2,
    "mixed": 2,
}
_RELEASED, _DELETED = 0.10, 0.15
_SENDERS: Final = 30
_UNKNOWN: Final = 20
_CHANGES_AN_HOUR: Final = 10
_MOST_LINES: Final = 200
FRIENDS_NETWORK: Final = "203.0.113."
_FRIENDS_CLIENT: Final = f"{FRIENDS_NETWORK}9"
STRANGE_HELO: Final = "pool-17.dynamic.example.org"
_HELO: Final = "mail.example.org"
BODY_HEADER: Final = "Load-Body"
_LINES: Final = (
    "please find the figures of this week attached",
    "the meeting of monday morning begins later",
    "your order is ready for delivery",
    "thanks for the letter about the garden",
    "the report on the budget was changed",
    "see the calendar for the summer schedule",
)


class SiteMail(NamedTuple):
    """One mail. `client`: an address outside; empty: one of the site's own. Addresses are in any case of letters."""

    number: int
    kind: str
    client: str
    helo: str
    sender: str
    recipients: tuple[str, ...]
    is_spam: bool = False


@dataclass(frozen=True, slots=True)
class Lists:
    """Welcome and block lists of all people: a recipient or a domain of ours, and a sender or a domain."""

    welcome: frozenset[Pair]
    block: frozenset[Pair]


class Hour(NamedTuple):
    """An hour of the day. `number`: 0 is eight in the morning."""

    number: int
    lists: Lists
    mails: tuple[SiteMail, ...]


class GatewayDay:
    """`hours` gives it. `friend`: the domain for which SPF vouches at its own client."""

    def __init__(self, domains: tuple[str, ...], friend: str, mailboxes: int, mails: int, seed: int) -> None:
        self._domains, self._friend, self._count, self._seed = domains, friend, mails, seed
        self._random = random.Random(seed)
        self.people = tuple(f"u{n:04}@{domains[n % len(domains)]}" for n in range(mailboxes))
        self.unknown = tuple(f"gone{n}@{domains[n % len(domains)]}" for n in range(_UNKNOWN))
        self._friends = [f"news{n}@{friend}" for n in range(_SENDERS)]
        self._pests = [f"pest{n}@pest.example.org" for n in range(_SENDERS)]
        self._pest_domains = [f"pest{n}.example.edu" for n in range(_SENDERS)]
        self._number, self._lists = 0, Lists(frozenset(), frozenset())
        self._makers: dict[str, Callable[[], SiteMail]] = {
            "plain": lambda: self._mail("plain", self._stranger(), self._some(4)),
            "friend": lambda: self._mail("friend", self._any(self._friends), self._some(6), _FRIENDS_CLIENT),
            "inside": lambda: self._mail("inside", self._any(self.people), self._some(3), ""),
            "bounce": lambda: self._mail("bounce", "", self._some(1)),
            "forged": lambda: self._mail("forged", f"boss@{self._any(self._domains)}", self._some(3)),
            "guessed": self._guessed,
            "blocked": self._blocked,
            "spam": lambda: self._mail("spam", self._stranger(), self._some(5), is_spam=True),
            "welcome spam": lambda: self._welcome("welcome spam", _FRIENDS_CLIENT),
            "welcome forged": lambda: self._welcome("welcome forged", self._client()),
            "strange": self._strange,
            "mixed": self._mixed,
        }

    def hours(self) -> Iterator[Hour]:
        """Hour by hour."""
        welcome = {self._entry(self._friends) for _ in self.people if self._random.random() < 0.5}
        block = {self._entry(self._blocked_senders) for _ in self.people if self._random.random() < 0.5}
        for number in range(HOURS):
            for entries, senders in ((welcome, self._friends), (block, self._blocked_senders)):
                self._change(entries, senders)
            lists = Lists(frozenset(welcome), frozenset(block))
            self._lists = lists
            first, last = (sum(_BY_HOUR[:n]) * self._count // sum(_BY_HOUR) for n in (number, number + 1))
            kinds = self._random.choices([*SHARES], [*SHARES.values()], k=last - first)
            yield Hour(number, lists, tuple(self._makers[kind]() for kind in kinds))

    def wish(self, number: int, recipient: str) -> str:
        """What the recipient does with a mail that is held: release, delete, or nothing (empty)."""
        choice = random.Random(f"{self._seed}/{number}/{recipient}").random()
        return "release" if choice < _RELEASED else "delete" if choice < _DELETED else ""

    @property
    def _blocked_senders(self) -> list[str]:
        return self._pests + self._pest_domains

    def _change(self, entries: set[Pair], senders: list[str]) -> None:
        """Some entries go, and more come: always one that was not there."""
        for entry in self._random.sample(sorted(entries), min(_CHANGES_AN_HOUR // 2, len(entries))):
            entries.discard(entry)
        more = len(entries) + _CHANGES_AN_HOUR
        while len(entries) < more:
            entries.add(self._entry(senders))

    def _entry(self, senders: list[str]) -> Pair:
        """Now and then for all people of a domain."""
        recipient = self._any(self._domains if self._random.random() < 0.01 else self.people)
        return recipient, self._any(senders)

    def _mail(
        self, kind: str, sender: str, recipients: tuple[str, ...], client: str | None = None, *, is_spam: bool = False
    ) -> SiteMail:
        self._number += 1
        client = self._client() if client is None else client
        return SiteMail(self._number, kind, client, _HELO, sender, recipients, is_spam)

    def _guessed(self) -> SiteMail:
        """To addresses that there may be: now and then one is."""
        known = self._some(1) if self._random.random() < 0.3 else ()
        return self._mail("guessed", self._stranger(), (*self._random.sample(self.unknown, 2), *known))

    def _blocked(self) -> SiteMail:
        """From a sender whom somebody blocks, by address or by domain: to one of them, and to others."""
        recipient, sender = self._random.choice(sorted(self._lists.block))
        address = sender if "@" in sender else f"any{self._random.randrange(50)}@{sender}"
        mine = (recipient,) if "@" in recipient else ()
        return self._mail("blocked", address, _distinct(*mine, *self._some(3)))

    def _welcome(self, kind: str, client: str) -> SiteMail:
        """Spam of a sender whom somebody welcomes: for one of them, and for others."""
        recipient, sender = self._random.choice(sorted(self._lists.welcome))
        mine = (recipient,) if "@" in recipient else ()
        return self._mail(kind, sender, _distinct(*mine, *self._some(3)), client, is_spam=True)

    def _strange(self) -> SiteMail:
        """From a client that a rule of the policy holds; some of it is spam, too."""
        is_spam = self._random.random() < 0.3
        return self._mail("strange", self._stranger(), self._some(3), is_spam=is_spam)._replace(helo=STRANGE_HELO)

    def _mixed(self) -> SiteMail:
        """Spam of a friend to who welcomes it, who does not, and who does not exist."""
        mail = self._welcome("mixed", _FRIENDS_CLIENT)
        return mail._replace(recipients=(*mail.recipients, self._any(self.unknown)))

    def _stranger(self) -> str:
        """The sender of a mail; in any case of letters."""
        address = f"s{self._random.randrange(5000)}@host{self._random.randrange(300)}.example.org"
        return address.title() if self._random.random() < 0.1 else address

    def _client(self) -> str:
        return f"198.51.100.{self._random.randrange(1, 255)}"

    def _some(self, most: int) -> tuple[str, ...]:
        """People, one most often; their addresses in any case of letters."""
        count = self._random.choice((1, 1, 1, *range(1, most + 1)))
        found = self._random.sample(self.people, min(count, len(self.people)))
        return tuple(each.upper() if self._random.random() < 0.05 else each for each in found)

    def _any(self, choices: list[str] | tuple[str, ...]) -> str:
        return self._random.choice(choices)


def _distinct(*recipients: str) -> tuple[str, ...]:
    """Each address once: Postfix delivers one copy, whatever the case of its letters."""
    return tuple({each.lower(): each for each in recipients}.values())


def text_of(mail: SiteMail, seed: int, spam_word: str) -> bytes:
    """The mail as on the wire, with a digest of its body in a header; its lines need no dots doubled."""
    chosen = random.Random(f"{seed}/{mail.number}")
    lines = [chosen.choice(_LINES) for _ in range(chosen.randrange(3, _MOST_LINES))]
    lines += [spam_word] if mail.is_spam else []
    body = "".join(f"{line}\r\n" for line in lines).encode()
    head = (
        f"From: Somebody <{mail.sender or 'mailer-daemon@example.org'}>\r\n"
        f"To: <{mail.recipients[0]}>\r\n"
        f"Subject: mail {mail.number}\r\n"
        "Date: Sun, 29 Nov 2026 04:00:00 +0000\r\n"
        f"Message-ID: <{mail.number}.{seed}@load.example.org>\r\n"
        f"{BODY_HEADER}: {digest_of(body)}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
    )
    return head.encode() + body


def digest_of(body: bytes) -> str:
    """Of a body, whatever its line ends are."""
    return hashlib.sha256(body.replace(b"\r\n", b"\n")).hexdigest()[:32]
