"""A line of Postfix's log that is about a mail or a refusal: which program wrote it, the queue id, and what it names.

The shapes are those of Postfix 3.7's smtpd(8), postscreen(8), cleanup(8), qmgr(8), bounce(8) and of the delivery agents
(`log_adhoc.c`, `smtpd_check.c`), under any syslog_name, behind whatever syslog or journalctl puts in front. Strangers
chose addresses, names and replies in it. Pure; `read_mail_line` never raises, and takes time in proportion to the line.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final, NamedTuple

# As `mail_queue.h` makes them: microseconds and inode in hexadecimal, or both and the time in 52 digits without vowels.
QUEUE_ID: Final = "[0-9A-F]{6,24}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,20}"
_LINE: Final = re.compile(rf"\[(?P<pid>\d{{1,10}})\]: (?:warning: |info: )?(?P<queue_id>NOQUEUE|{QUEUE_ID}): ")
_PROGRAM: Final = re.compile(r"[\w.-]{1,64}\Z")
_TRADITIONAL_TIME: Final = re.compile(
    r"\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) {1,2}(\d{1,2}) (\d\d:\d\d:\d\d)(\.\d{1,6})?\b"
)
_ISO_TIME: Final = re.compile(
    r"\b(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?\d*(?:(Z)|([+-]\d\d):?(\d\d))?"
)
_SECONDS: Final = re.compile(r"(\d{9,11})\.(\d{6}) ")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLIENT: Final = re.compile(r"[^\s\[,]{0,255}\[([0-9A-Fa-f:.]{3,45})\]")
# A milter's reply to the end of a message has no code of three digits.
_REFUSED: Final = re.compile(
    r"(?:milter-)?\w+: ([A-Z-]{4,20}) from ([^;]{0,400}?): (?=[245]\d\d |[45]\.\d{1,3}\.\d{1,3} )"
)
# As Postfix logs them (info_log_address_format): in quotes a local part may have whatever stands in a line.
_ADDRESS: Final = r'<(?:"(?:[^"\\]|\\.){0,320}")?[^"<>]{0,320}>'
_FIELD: Final = re.compile(
    r"\b(from|to|orig_to|client|relay|delay|dsn|sasl_username|message-id)="
    rf"({_ADDRESS}|<[^<>]{{0,320}}>|[^\s,;<>]{{1,320}})"
)
# A mail says itself what its id is, and that is all that these lines have.
_OF_MAIL: Final = ("message-id=", "resent-message-id=")
_MOST_ID: Final = 322
# Of the delivery agents (log_adhoc.c), and of qmgr about a mail that is too old. Nowhere else: an id of a message may
# have ` status=sent` in it.
_STATUS: Final = re.compile(
    rf"(?:to={_ADDRESS}, (?:orig_to={_ADDRESS}, )?(?:[a-z_]{{1,20}}=[^\s,]{{0,400}}, ){{0,20}}|from={_ADDRESS}, )"
    "status="
)
# A line has its time in front of everything else.
_TIME_WITHIN: Final = 200


class MailLine(NamedTuple):
    """`queue_id`: empty for NOQUEUE; `client`: an address; `fields`: without brackets (from, to, orig_to, relay, ...);
    `text`: all that stands behind the queue id; `refused_at`: the command that was refused (RCPT, END-OF-MESSAGE, ...),
    empty for other lines.
    """

    program: str
    pid: int
    queue_id: str
    client: str
    fields: dict[str, str]
    text: str
    refused_at: str = ""

    @property
    def refusal(self) -> str:
        """The reply to a command that was refused."""
        return self.text.partition(": ")[2].partition(": ")[2].rpartition("; from=")[0] if self.refused_at else ""

    @property
    def status(self) -> str:
        """What became of a delivery: sent, deferred, bounced, expired, ... with the reply in parentheses."""
        found = _STATUS.match(self.text)
        return self.text[found.end() :] if found else ""


def read_mail_line(line: str) -> MailLine | None:
    """What the line says about a mail; None where it is about none."""
    found = _LINE.search(line)
    if found is None:
        return None
    text = line[found.end() :].rstrip("\r\n")
    program = _PROGRAM.search(line, max(0, found.start() - 64), found.start())
    fields: dict[str, str] = {}
    # A reply may say anything; ours is in front of it, and the envelope of a refusal behind it.
    refused = _REFUSED.match(text)
    named = text[max(text.rfind("; from=<"), text.rfind("; to=<"), text.rfind("; proto="), 0) :] if refused else text
    for name, value in _fields(text, named):
        fields.setdefault(name, value[1:-1] if value[0] == "<" else value)
    client = _CLIENT.match(refused[2]) if refused else _CLIENT.match(fields.get("client", ""))
    queue_id = "" if found["queue_id"] == "NOQUEUE" else found["queue_id"]
    name = program[0] if program else ""
    is_refused = refused is not None and text.partition(": ")[0].endswith("reject")
    at = refused[1] if refused and is_refused else ""
    return MailLine(name, int(found["pid"]), queue_id, client[1] if client else "", fields, text, at)


def _fields(text: str, named: str) -> list[tuple[str, str]]:
    """Names and values of a line's text; `named`: the part that has them."""
    if text.startswith(_OF_MAIL):
        return [("message-id", text.partition("=")[2][:_MOST_ID])]
    status = _STATUS.match(text)
    return _FIELD.findall(named[: status.end()] if status else named)


def line_time_s(line: str, now_s: float) -> float | None:
    """When it was written, in seconds since 1970: ISO 8601 or journalctl's seconds, or the traditional time, which has
    neither year nor zone: the last one before now, in local time. None where it has no time that can be read.
    """
    head = line[:_TIME_WITHIN]
    try:
        if found := _ISO_TIME.search(head):
            day, time, fraction, utc, hours, minutes = found.groups()
            zone = "+00:00" if utc else f"{hours}:{minutes}" if hours else ""
            return datetime.fromisoformat(f"{day}T{time}.{(fraction or '').ljust(6, '0')}{zone}").timestamp()
        if found := _TRADITIONAL_TIME.search(head):
            return _traditional_s(found, now_s)
        if found := _SECONDS.match(head):
            return float(f"{found[1]}.{found[2]}")
    except (ValueError, OverflowError, OSError):
        # A 31 February, an hour 25, a year 0.
        pass
    return None


def _traditional_s(found: re.Match[str], now_s: float) -> float:
    month, day, time, fraction = found.groups()
    now = datetime.fromtimestamp(now_s).astimezone()
    hour, minute, second = map(int, time.split(":"))
    for year in (now.year, now.year - 1):
        moment = datetime(year, _MONTHS.index(month) + 1, int(day), hour, minute, second).astimezone()
        if moment <= now + timedelta(days=1):
            break
    return moment.timestamp() + float(fraction or 0)
