"""The stages that mail passes at a gateway, as Postfix's log says it: what each refused, put off, held or let go on.

Read in the order of time, since what a scan took is the time between two lines of one mail. The shapes are those of
Postfix 3.7 (`smtpd_check.c`, `cleanup_milter.c`, `log_adhoc.c`), and of the recipe's names for its store and its port
behind the scanner. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.postfix.mail_lines import read_mail_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.postfix.mail_lines import MailLine

ADDRESSES, VERIFICATION, SCANNER, STORE, DELIVERY = "addresses", "verification", "scanner", "store", "delivery"
REFUSED, DEFERRED, HELD, PASSED = "refused", "deferred", "held", "passed"
# What the backend was asked: neither stops nor passes a mail, and costs time.
PROBE: Final = "probe"
# In every line that is read here.
TEXTS: Final = (": reject: ", ": milter-", ": client=", ": message-id=", " (queue active)", " status=")
_REJECT: Final = re.compile(
    r"reject: RCPT from [^;]{0,400}?: ([45])\d\d [\d.]{5,12} <[^<>]{0,320}>: "
    r"(?:(?P<verification>Recipient address rejected: (?:undeliverable address|unverified address|User unknown in))"
    r"|(?:Recipient|Sender) address rejected: need fully-qualified address|Relay access denied)"
)
# At CONNECT and EHLO nobody has named a mail yet; smtpd says the same again at MAIL.
_MILTER: Final = re.compile(
    r"milter-(?P<what>reject|hold|discard): (?:MAIL|RCPT|DATA|END-OF-MESSAGE) from [^;]{0,400}?: (?P<code>[45]?)"
)
_TO_STORE: Final = re.compile(r"milter-header-filter: .*:unix:private/store(?:-\w{1,20})?$")
_STORE: Final = re.compile(r"\[private/store(?:-\w{1,20})?\]")
_DELAYS: Final = re.compile(r" delays=[\d.]{1,20}/[\d.]{1,20}/([\d.]{1,20})/([\d.]{1,20}),")
_BY_CODE: Final = {"4": DEFERRED, "5": REFUSED}
_BY_STATUS: Final = {"sent": PASSED, "deferred": DEFERRED, "bounced": REFUSED, "expired": REFUSED}
_PROBED: Final = ("deliverable", "undeliverable")
# The smtpd behind the scanner (`postfix_text.master_services`): what comes in there is not scanned.
_UNSCANNED: Final = "postfix/release/"
_MOST_SCANS: Final = 10_000


class Step(NamedTuple):
    """One thing that a stage did. `seconds`: what it took; None where the line does not say it."""

    stage: str
    result: str
    seconds: float | None = None


class StageLines:
    """Reads lines, the oldest first."""

    def __init__(self) -> None:
        # Of mails that are being scanned: when their header was there, by queue id; None before that.
        self._scans: dict[str, float | None] = {}

    def read(self, at_s: float, line: str) -> Iterator[Step]:
        """What a line says; nothing for most of them."""
        found = read_mail_line(line)
        if found is None:
            return
        if found.status:
            yield from _delivery(found)
        elif found.program == "smtpd" and found.text.startswith("client="):
            self._begin(found.queue_id, line)
        elif found.program == "cleanup" and found.text.startswith("message-id="):
            if found.queue_id in self._scans:
                self._scans[found.queue_id] = at_s
        elif found.program == "qmgr" and found.text.endswith("(queue active)"):
            began_s = self._scans.pop(found.queue_id, None)
            if began_s is not None:
                yield Step(SCANNER, PASSED, max(0.0, at_s - began_s))
        else:
            yield from _refusal(found)

    def _begin(self, queue_id: str, line: str) -> None:
        if _UNSCANNED in line.partition(": ")[0]:
            return
        if len(self._scans) >= _MOST_SCANS:
            # Sessions that ended before their mail did.
            del self._scans[next(iter(self._scans))]
        self._scans[queue_id] = None


def _refusal(found: MailLine) -> Iterator[Step]:
    if refused := _REJECT.match(found.text):
        yield Step(VERIFICATION if refused["verification"] else ADDRESSES, _BY_CODE[refused[1]])
    elif scanned := _MILTER.match(found.text):
        held_or_refused = HELD if scanned["what"] == "hold" else REFUSED
        yield Step(SCANNER, _BY_CODE.get(scanned["code"], held_or_refused))
    elif _TO_STORE.match(found.text):
        yield Step(SCANNER, HELD)


def _delivery(found: MailLine) -> Iterator[Step]:
    status, _, reply = found.status.partition(" ")
    delays = _DELAYS.search(found.text)
    seconds = _seconds(delays[1], delays[2]) if delays else None
    if status in _PROBED:
        yield Step(VERIFICATION, PROBE, seconds)
    elif status not in _BY_STATUS:
        return
    elif not _STORE.search(found.fields.get("relay", "")):
        yield Step(DELIVERY, _BY_STATUS[status], seconds)
    elif status == "sent":
        yield Step(STORE, PASSED if reply.endswith("> goes on)") else HELD, seconds)
    else:
        yield Step(STORE, _BY_STATUS[status], seconds)


def _seconds(connecting: str, sending: str) -> float | None:
    try:
        return float(connecting) + float(sending)
    except ValueError:
        return None
