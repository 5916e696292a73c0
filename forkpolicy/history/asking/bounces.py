"""What the text of a bounce says about the mail: the recipient that failed, the sender, the client, and when.

The shapes are those that were met: RFC 3464's fields, and the sentences of Postfix, Exim, Exchange and Microsoft 365,
Gmail and qmail. An address of which the text says what it is comes before one that merely stands there, and those of
mail systems (postmaster, mailer-daemon) come last. Pure; never raises; linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ADDRESS: Final = r"[<*]{0,3}(?:mailto:)?([^\s<>()\[\]\"',;:*]{1,200}@[A-Za-z0-9.-]{1,254})"
_FLAGS: Final = re.IGNORECASE | re.MULTILINE
_RECIPIENTS: Final = [
    re.compile(pattern.replace("ADDRESS", _ADDRESS), _FLAGS)
    for pattern in (
        r"^X-Actual-Recipient: *[\w-]{1,20} *; *ADDRESS",
        r"^Original-Recipient: *[\w-]{1,20} *; *ADDRESS",
        r"^Final-Recipient: *[\w-]{1,20} *; *ADDRESS",
        r"^X-Failed-Recipients: *ADDRESS",
        r"\bRCPT TO: *ADDRESS",
        r"\(expanded from ADDRESS",
        r"^(?=<)ADDRESS>(?: \(expanded from <[^<>]{1,254}>\))?:",
        r"<([^\s<>]{1,254})>: Recipient address rejected",
        r"\bdelivered to ADDRESS",
        r"\b(?:message|mail|e-?mail) to ADDRESS",
        r"\b(?:address\(es\) failed|address(?:es)? had [a-z -]{1,60})[:\s]{1,20}ADDRESS",
        r"\brecipients? failed[a-z ]{0,20}[:\s]{1,20}ADDRESS",
        r"\b(?:recipients?(?: or groups)?|recipients? address)[:\s]{1,20}(?:[^\n@<(]{0,80}[<(])?ADDRESS",
    )
]
_SENDERS: Final = [
    re.compile(pattern.replace("ADDRESS", _ADDRESS), _FLAGS)
    for pattern in (
        r"^X-Postfix-Sender: *[\w-]{1,20} *; *ADDRESS",
        r"\bMAIL FROM: *ADDRESS",
        r"<([^\s<>]{1,254})>: Sender address rejected",
        r"^Return-Path: *ADDRESS",
        r"^Sender(?: address)?: *ADDRESS",
    )
]
_HEADER: Final = re.compile(r"^(From|To):[^\n@]{0,200}?" + _ADDRESS, _FLAGS)
_CLIENTS: Final = re.compile(r"\[([0-9A-Fa-f:.]{3,45})\](?:>: Client host rejected| blocked using|; from=)")
_QUEUE_IDS: Final = re.compile(r"^X-Postfix-Queue-ID: *([0-9A-Za-z]{6,20})\s*$", _FLAGS)
_DATES: Final = re.compile(r"^(?:Arrival-Date|Last-Attempt-Date|Date): *([^\n]{10,60})$", _FLAGS)
_TOKEN: Final = re.compile(r"[^\s<>()\[\]\"',;:*]+")
_WHOLE: Final = re.compile(r"[^@]{1,200}@[A-Za-z0-9.-]{0,253}[A-Za-z0-9]")
_DAEMON: Final = re.compile(r"(?:mailer-daemon|postmaster|microsoftexchange\w*|mail-daemon|root)@", re.IGNORECASE)
# A message id looks like an address.
_MESSAGE_ID: Final = re.compile(r"^(?:Message-ID|References|In-Reply-To|Content-ID):[^\n]*|message-id=\S*", _FLAGS)
_MOST: Final = 6
_MOST_FOUND: Final = 1000


@dataclass(slots=True)
class Clues:
    """The likeliest first; `others`: addresses of which it is not known what they are; `dates_s`: since 1970."""

    recipients: list[str] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    queue_ids: list[str] = field(default_factory=list)
    dates_s: list[float] = field(default_factory=list)


def clues_of(text: str) -> Clues:
    """What a bounce says, from its plain text."""
    text = _MESSAGE_ID.sub("", text)
    recipients = [address for pattern in _RECIPIENTS for address in _found(pattern, text)]
    senders = [address for pattern in _SENDERS for address in _found(pattern, text)]
    _add_headers(text, recipients, senders)
    recipients, senders = _ranked(recipients), _ranked(senders)
    # The sender of the mail stands where a bounce names whom it is for.
    recipients = [each for each in recipients if each not in senders[:1]] or recipients
    every = (
        each for found in _TOKEN.finditer(text) if "@" in (each := found[0]) and _WHOLE.fullmatch(each.rstrip("."))
    )
    others = _ranked(each.rstrip(".") for each in islice(every, _MOST_FOUND))
    return Clues(
        recipients,
        senders,
        [each for each in others if each not in recipients and each not in senders],
        list(dict.fromkeys(_found(_CLIENTS, text)))[:_MOST],
        list(dict.fromkeys(_found(_QUEUE_IDS, text)))[:_MOST],
        list(_dates_s(text)),
    )


def _found(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    return (found[1].rstrip(".") for found in islice(pattern.finditer(text), _MOST_FOUND))


def _ranked(addresses: Iterable[str]) -> list[str]:
    """Once each, those of mail systems last."""
    unique: dict[str, str] = {}
    for each in addresses:
        unique.setdefault(each.casefold(), each)
    return sorted(unique.values(), key=lambda each: bool(_DAEMON.match(each)))[:_MOST]


def _add_headers(text: str, recipients: list[str], senders: list[str]) -> None:
    """From and To of the mail; those of a bounce in front of it: its To is the mail's sender."""
    is_bounce = False
    for found in islice(_HEADER.finditer(text), _MOST_FOUND):
        address = found[2].rstrip(".")
        if found[1].casefold() == "from":
            is_bounce = bool(_DAEMON.match(address))
            if not is_bounce:
                senders.append(address)
        elif is_bounce:
            senders.append(address)
        else:
            recipients.append(address)


def _dates_s(text: str) -> Iterator[float]:
    for written in islice(_found(_DATES, text), _MOST):
        try:
            yield parsedate_to_datetime(written).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError, OSError):
            continue
