"""Mails of a log: what Postfix wrote about each queue id, as one mail with its deliveries; and refusals.

A mail is found by a text of any of its lines, and then all of its lines are read. Pure but for reading the log.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from forkpolicy.postfix.mail_lines import read_mail_line
from forkpolicy.tables.keys import fold_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from forkpolicy.postfix.mail_lines import MailLine

# Of a search that is too wide: the newest ones.
MOST_MAILS: Final = 500
_MOST_LINES: Final = 50_000
# A short queue id is given again; Postfix gives a mail up after five days, unless it is configured otherwise.
_QUEUED_S: Final = 5 * 86400
# qmgr takes a mail up within this time; smtpd and cleanup have written before.
_ARRIVAL_S: Final = 3600


class MailLog(Protocol):
    """Where lines of Postfix's log come from. Raises HistoryError."""

    name: str

    def lines(self, text: str, since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
        """Lines that have the text, in any case, each with its time, the oldest first."""
        ...

    def lines_with(self, texts: Sequence[str], since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
        """Lines that have any of the texts, the same way."""
        ...

    def lines_of(self, queue_ids: Sequence[str], since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
        """Lines about these queue ids, the same way."""
        ...


@dataclass(slots=True)
class Delivery:
    """What became of one recipient, last. `original`: the address before an alias, where it was another one."""

    at_s: float
    recipient: str
    original: str
    relay: str
    status: str


@dataclass(slots=True)
class Mail:
    """One mail, or one refusal (`queue_id` is empty). `smtpd`: the process id of the session that took it; `sender`:
    None where no line has it; times in seconds since 1970, of the first line and the last. `refusal`: the reply to its
    end, where the whole mail was refused after it had a queue id.
    """

    queue_id: str
    began_s: float
    ended_s: float = 0.0
    smtpd: int = 0
    client: str = ""
    login: str = ""
    sender: str | None = None
    message_id: str = ""
    is_removed: bool = False
    refusal: str = ""
    deliveries: dict[str, Delivery] = field(default_factory=dict)

    @property
    def recipients(self) -> set[str]:
        """All names under which it has a recipient, folded."""
        every = self.deliveries.values()
        return {fold_address(name) for each in every for name in (each.recipient, each.original) if name}


def mails_with(log: MailLog, text: str, since_s: float, until_s: float) -> list[Mail]:
    """Mails and refusals of which a line within the span has the text, the newest first."""
    refused, queue_ids = [], {}
    for at_s, line in _newest(log.lines(text, since_s, until_s)):
        found = read_mail_line(line)
        if found and found.queue_id:
            queue_ids[found.queue_id] = at_s
        elif found and found.refused_at and found.fields.get("to"):
            refused.append(_refusal(at_s, found))
    newest = sorted(queue_ids, key=lambda each: queue_ids[each])[-MOST_MAILS:]
    mails = mails_of(log, newest, since_s - _ARRIVAL_S, until_s + _QUEUED_S) if newest else []
    # A queue id that was given twice is another mail, too.
    mails = [each for each in mails if each.began_s <= until_s and each.ended_s >= since_s]
    return sorted([*mails, *refused[-MOST_MAILS:]], key=lambda each: each.began_s, reverse=True)


def mails_of(log: MailLog, queue_ids: list[str], since_s: float, until_s: float) -> list[Mail]:
    """All mails that had one of the queue ids, the oldest first."""
    wanted, current, every = set(queue_ids), dict[str, Mail](), list[Mail]()
    for at_s, line in _newest(log.lines_of(queue_ids, since_s, until_s)):
        found = read_mail_line(line)
        if found is None or found.queue_id not in wanted:
            continue
        mail = current.get(found.queue_id)
        if mail is None or (mail.is_removed and found.program in ("smtpd", "pickup", "cleanup")):
            mail = current[found.queue_id] = Mail(found.queue_id, at_s)
            every.append(mail)
        _add(mail, at_s, found)
    return every


def _newest(lines: Iterable[tuple[float, str]]) -> Iterable[tuple[float, str]]:
    return deque(lines, _MOST_LINES)


def _refusal(at_s: float, found: MailLine) -> Mail:
    mail = Mail(
        "", at_s, at_s, found.pid, found.client, found.fields.get("sasl_username", ""), found.fields.get("from")
    )
    mail.deliveries[""] = _refused(at_s, found)
    return mail


def _refused(at_s: float, found: MailLine) -> Delivery:
    by = "" if found.program == "smtpd" else found.program
    return Delivery(at_s, found.fields["to"], "", by, f"refused ({found.refusal})")


def _add(mail: Mail, at_s: float, found: MailLine) -> None:
    mail.ended_s = at_s
    fields = found.fields
    if found.refused_at and fields.get("to"):
        # One recipient of several, or all of them: then the line names one.
        mail.deliveries[fields["to"]] = _refused(at_s, found)
        mail.sender = fields.get("from", mail.sender)
        mail.refusal = "" if found.refused_at == "RCPT" else found.refusal
    elif found.client and not mail.smtpd:
        mail.smtpd, mail.client, mail.login = found.pid, found.client, fields.get("sasl_username", "")
    elif found.program == "cleanup":
        mail.message_id = fields.get("message-id", mail.message_id)
    elif found.status:
        to = fields.get("to", "")
        relay = fields.get("relay", "")
        mail.deliveries[to] = Delivery(
            at_s, to, fields.get("orig_to", ""), "" if relay == "none" else relay, found.status
        )
    elif found.text == "removed":
        mail.is_removed = True
    elif "from" in fields and mail.sender is None:
        mail.sender = fields["from"]
