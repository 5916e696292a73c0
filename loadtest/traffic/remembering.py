"""The policy of a site that remembers, and whether a run's replies are those that it allows.

Every rule has a text of its own, by which a reply is known through Postfix, too. Times are short: a run of half a
minute sees limits that become free, triplets that pass, and lists that end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.traffic.mail import Transaction
from loadtest.traffic.mail_kinds import TRAP
from loadtest.traffic.remembered import (
    Event,
    triplet,
    wrong_greylisting,
    wrong_limits,
    wrong_lists,
    wrong_values,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from loadtest.traffic.oracle import Oracle

LIMITS: Final = ((5, 4.0), (100, 3600.0))
MOST_PLACES, PLACES_S = 4, 6.0
DELAY_S, WINDOW_S = 3, 20
TRAPPED_S: Final = 5.0

RULES: Final = f"""
acl    trap            recipient {TRAP}
acl    trapped         listed traps {{client_address}}
acl    scattered       distinct {{sasl_username}} {{client_address}} >{MOST_PLACES}/{PLACES_S:g}s
acl    busy            rate {{sasl_username}} {LIMITS[0][0]}/{LIMITS[0][1]:g}s {LIMITS[1][0]}/{LIMITS[1][1]:g}s
acl    new_here        greylisting delay={DELAY_S}s window={WINDOW_S}s auto=0
action catch           remember traps {{client_address}} {TRAPPED_S:g}s
action stop            REJECT 5.7.1 Trapped
action locked          DEFER 4.7.1 Too many places
action slow            DEFER 4.7.1 Too much mail
action later           DEFER_IF_PERMIT 4.2.0 Greylisted
access trap catch
access !signed_in !from_inside trapped stop
access signed_in scattered locked
access signed_in busy slow
access !signed_in !from_inside new_here later
"""
# What is in the texts, and the reply's name.
TEXTS: Final = {
    "Authentication required": "refused",
    "Trapped": "trapped",
    "Too many places": "locked",
    "Too much mail": "slow",
    "Greylisted": "later",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One recipient of a mail, when it was asked about and answered (seconds since 1970), and the name of the reply."""

    message: str
    kind: str
    client: str
    sender: str
    recipient: str
    login: str
    asked_s: float
    answered_s: float
    reply: str

    @property
    def words(self) -> str:
        """For a report."""
        who = f"{self.kind}: {self.client} {self.login or '-'} {self.sender or '<>'} to {self.recipient}"
        return f"{who}: {self.reply} at {self.asked_s:.3f} to {self.answered_s:.3f}, message {self.message}"

    def event(self, key: str, value: str, *, holds: bool) -> Event:
        """As a question about a key."""
        return Event(key, value, self.asked_s, self.answered_s, holds, self.words)


def named(text: str, *, passed: bool) -> str:
    """The name of a reply; empty for one that the policy does not have."""
    return "passed" if passed else next((name for known, name in TEXTS.items() if known in text), "")


def wrong_replies(history: Sequence[Asked], oracle: Oracle) -> list[str]:
    """Every reply that the policy does not allow, with the reason."""
    wrong: list[str] = []
    asked = [each for each in history if not _refused(each, oracle)]
    strangers = [each for each in asked if not each.login and not oracle.is_inside(each.client)]
    signed_in = [each for each in asked if each.login]
    untrapped = [each for each in strangers if each.reply != "trapped"]
    unlocked = [each for each in signed_in if each.reply != "locked"]
    replies = {**dict.fromkeys(strangers, ("trapped", "later")), **dict.fromkeys(signed_in, ("locked", "slow"))}
    others = [each for each in asked if each.reply not in ("passed", *replies.get(each, ()))]
    wrong += [f"{each.words}: no rule for this mail says so" for each in others]
    caught = [each.event(each.client, "", holds=True) for each in asked if each.recipient == TRAP]
    wrong += wrong_lists(_events(strangers, "client", "", "trapped"), caught, TRAPPED_S)
    wrong += wrong_values(_events(signed_in, "login", "client", "locked"), MOST_PLACES, PLACES_S)
    wrong += wrong_limits(_events(unlocked, "login", "message", "slow"), LIMITS)
    wrong += wrong_greylisting(map(_triplet, untrapped), DELAY_S, WINDOW_S)
    return wrong


def _refused(asked: Asked, oracle: Oracle) -> bool:
    mail = Transaction(asked.kind, asked.client, asked.sender, (asked.recipient,), login=asked.login)
    return oracle.refuses(mail, asked.recipient)


def _triplet(asked: Asked) -> Event:
    return asked.event(triplet(asked.client, asked.sender, asked.recipient), "", holds=asked.reply == "later")


def _events(asked: Iterable[Asked], key: str, value: str, reply: str) -> Iterator[Event]:
    for each in asked:
        yield each.event(getattr(each, key), getattr(each, value) if value else "", holds=each.reply == reply)
