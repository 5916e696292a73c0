"""What the store is asked by `forkpolicy gateway digest`, and by the page of a digest's link; its replies.

A part of store_messages.py, which has the rules of all of them. The links of a digest are tokens of the store
(store/link_tokens.py): who has one may see sender, subject and cause of that one mail, and act on it once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# What a link does.
LINK_ACTIONS: Final = ("release", "delete")

# Commands


@dataclass(frozen=True, slots=True)
class DigestsDue:
    """Who is to get a digest now, of the addresses behind `after`. `schedules`: off, daily or weekly by domain, for who
    has chosen nothing; nobody of another domain gets one. `most` addresses are looked at.
    """

    schedules: dict[str, str]
    after: str = ""
    most: int = 50


@dataclass(frozen=True, slots=True)
class DigestSent:
    """The release port has the digest of an address, under that queue id: what is held up to that id is not new."""

    address: str
    up_to: int
    queue_id: str


@dataclass(frozen=True, slots=True)
class DigestFailed:
    """A digest could not be sent. `about`: an address; empty: all of them."""

    about: str
    error: str


@dataclass(frozen=True, slots=True)
class DigestsRan:
    """A run has ended in which every address was looked at."""


@dataclass(frozen=True, slots=True)
class ShowLink:
    """The mail of a link. Changes nothing: scanners of mail fetch links."""

    token: str


@dataclass(frozen=True, slots=True)
class UseLink:
    """Act on the mail of a link, once: one of LINK_ACTIONS."""

    token: str
    action: str


# Replies


@dataclass(frozen=True, slots=True)
class DigestMail:
    """A mail of a digest; `token`: that of its link."""

    id: int
    arrived_s: float
    sender: str
    from_header: str
    subject: str
    cause: str
    spam_score: float | None
    token: str


@dataclass(frozen=True, slots=True)
class DueDigest:
    """A digest to send. `address`: in lower case; `recipient`: as its newest mail has it. `count` mails are new,
    `mails` are the newest of them; `up_to`: the greatest id of all.
    """

    address: str
    recipient: str
    language: str
    count: int
    up_to: int
    mails: tuple[DigestMail, ...]


@dataclass(frozen=True, slots=True)
class DueDigests:
    """Those of some addresses; `after`: where to go on, empty behind the last."""

    due: tuple[DueDigest, ...]
    after: str


@dataclass(frozen=True, slots=True)
class LinkedMail:
    """The mail of a link. `standing`: open; used, for `used_for`; expired, the link; changed, the mail in another way.
    `state`: that of the copy. Sender, subject and cause are empty unless it is open. `actions`: what it may still do.
    `is_done`: it was used just now, by this command.
    """

    id: int
    standing: str
    language: str
    recipient: str
    state: str
    used_for: str = ""
    is_done: bool = False
    sender: str = ""
    from_header: str = ""
    subject: str = ""
    cause: str = ""
    spam_score: float | None = None
    arrived_s: float = 0.0
    until_s: float = 0.0
    actions: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class DigestFailure:
    """What went wrong with the digests of an address (empty: of all), since when and when last."""

    about: str
    error: str
    since_s: float
    last_s: float
