"""Pasted lines of logs, as mails: ours (JSON or logfmt) and Postfix's, whatever a terminal or a mail program broke.

Lines about one queue id are one mail. Pure; never raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from forkpolicy.history.lines import ID
from forkpolicy.history.log_lines import read_line
from forkpolicy.postfix.mail_lines import line_time_s, read_mail_line

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_LINES: Final = 2000
_MOST_LINE_CHARS: Final = 65536
_MOST_MAILS: Final = 20
# What a line of a log has and the rest of a broken one does not.
_HEAD: Final = re.compile(r"\[\d{1,10}\]: |\btime=\S{1,64} level=|\{\"|\{ \"")
# From when smtpd asked to when it, cleanup or qmgr wrote the line.
_SESSION_S: Final = 15 * 60


@dataclass(slots=True)
class PastedMail:
    """What lines say of one mail, or of one request. `sender`: None where it is not known; times in s since 1970."""

    id: str = ""
    queue_id: str = ""
    client: str = ""
    sender: str | None = None
    login: str = ""
    recipients: list[str] = field(default_factory=list)
    began_s: float | None = None
    ended_s: float | None = None


def mails_of(text: str, now_s: float) -> list[PastedMail]:
    """The mails that the lines are about; none where no line is of a log."""
    found: list[PastedMail] = []
    by_queue_id: dict[str, PastedMail] = {}
    for line in islice(_whole_lines(text), _MOST_LINES):
        mail = _of_ours(line, now_s) or _of_postfix(line, now_s)
        if mail is None or len(found) == _MOST_MAILS:
            continue
        known = by_queue_id.setdefault(mail.queue_id, mail) if mail.queue_id else mail
        if known is mail:
            found.append(mail)
        else:
            _add(known, mail)
    return found


def _whole_lines(text: str) -> Iterator[str]:
    """Those that were broken as one again: cut anywhere by a terminal, at blanks by a mail program."""
    cut: list[str] = []
    for line in text.splitlines():
        if cut and _HEAD.search(line):
            yield _whole(cut)
            cut = []
        if cut or line.strip():
            cut.append(line)
    if cut:
        yield _whole(cut)


def _whole(cut: list[str]) -> str:
    """What a terminal cut has no blank where the next line begins: of either form, the one is right that says more."""
    if len(cut) == 1:
        return cut[0][:_MOST_LINE_CHARS]
    forms = ("".join(cut), " ".join(each.strip() for each in cut))
    return max((each[:_MOST_LINE_CHARS] for each in forms), key=_known)


def _known(line: str) -> int:
    """How much a line says."""
    mail = _of_ours(line, 0) or _of_postfix(line, 0)
    return (
        0
        if mail is None
        else sum(map(bool, (mail.id, mail.client, mail.login, *mail.recipients))) + (mail.sender is not None)
    )


def _of_ours(line: str, now_s: float) -> PastedMail | None:
    """A decision, or a refusal in syslog's or journalctl's form."""
    found = read_line(line[:_MOST_LINE_CHARS].encode("utf-8", "surrogateescape"))
    attributes = found.attributes
    code = str(found.fields.get("id", ""))
    if attributes is None and not code:
        return None
    attributes = attributes or {}
    at_s = _moment_s(found.time) or line_time_s(line, now_s)
    recipient, sender = attributes.get("recipient", ""), attributes.get("sender")
    return PastedMail(
        code if ID.fullmatch(code) else "",
        attributes.get("queue_id", ""),
        attributes.get("client_address", ""),
        sender,
        attributes.get("sasl_username", ""),
        [recipient] if recipient else [],
        at_s,
        at_s,
    )


def _of_postfix(line: str, now_s: float) -> PastedMail | None:
    found = read_mail_line(line[:_MOST_LINE_CHARS])
    if found is None:
        return None
    fields = found.fields
    at_s = line_time_s(line, now_s)
    began_s = at_s
    if at_s is not None and found.queue_id:
        began_s = at_s - _delay_s(fields.get("delay", "")) - _SESSION_S
    recipients = dict.fromkeys(fields[name] for name in ("orig_to", "to") if fields.get(name))
    login = fields.get("sasl_username", "")
    return PastedMail("", found.queue_id, found.client, fields.get("from"), login, list(recipients), began_s, at_s)


def _add(known: PastedMail, mail: PastedMail) -> None:
    known.client = known.client or mail.client
    known.login = known.login or mail.login
    known.sender = mail.sender if known.sender is None else known.sender
    known.recipients = list(dict.fromkeys([*known.recipients, *mail.recipients]))
    times = [each for each in (known.began_s, known.ended_s, mail.began_s, mail.ended_s) if each is not None]
    known.began_s, known.ended_s = (min(times), max(times)) if times else (None, None)


def _delay_s(text: str) -> float:
    try:
        return min(float(text), 400 * 86400)
    except ValueError:
        return 0.0


def _moment_s(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
