r"""What one line of a log says: a decision of ours (JSON or logfmt), or Postfix's `NOQUEUE: reject: ...`.

What is around it is removed first: what syslog puts in front, the JSON of `journalctl -o json`
(systemd.journal-fields(7), with a MESSAGE that is a list of bytes where it is not printable) and of Docker's json-file
driver. Nothing is guessed: a line without anything known has no fields. Raises nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from forkpolicy.history.past_request import with_raw_bytes
from forkpolicy.protocol.attributes import LOGGED_AS
from forkpolicy.protocol.request import REQUEST_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

# `escaped` of forkpolicy.log, backwards; a raw byte is the lone surrogate that stands for it everywhere.
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))")
_SHORT_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
# From the start of a name only: a long word is looked at once.
_LOGFMT = re.compile(r'(?<![\w.])([\w.]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))')
_LOGFMT_HEAD = re.compile(r"\btime=\S{1,64} level=\S{1,16} ")
# smtpd_check.c, log_whatsup(): the queue id, what was done, at which state, client, reply; then the envelope.
_REJECT = re.compile(
    r"(?:^|\s)(?P<queue_id>NOQUEUE|[0-9A-Za-z]{6,20}): (?:milter-)?\w+: (?P<state>[A-Z-]+) from "
    r"(?P<client_name>[^\s\[]*)\[(?P<client_address>[^\s\]]+)\](?::(?P<client_port>\d+))?: "
)
_REJECT_FIELD = re.compile(
    r" (from|to|proto|helo|sasl_method|sasl_username|sasl_sender)=(<(?:[^<>]|<[^<>]*>)*>|[^\s,]+)"
)
_ATTRIBUTE_OF = {"from": "sender", "to": "recipient", "proto": "protocol_name", "helo": "helo_name"}
_QUOTED_LOCAL_PART = re.compile(r'"((?:[^"\\]|\\.)*)"(@[^"]*)?')
_ISO_TIME = re.compile(r"\s*(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*)\s")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line. `fields`: of a decision of ours; `attributes`: of a request, as far as the line has them.

    `whole`: they are the whole request; `lost`: why the line cannot be read, where it cannot.
    """

    fields: Mapping[str, object] = field(default_factory=dict)
    attributes: dict[str, str] | None = None
    whole: bool = False
    time: str = ""
    lost: str = ""


UNREADABLE = "lines that are not JSON"
TOO_LONG_FOR_JOURNALCTL = "messages that journalctl left out because of their length: journalctl -o json --all has them"


def read_line(line: bytes) -> LogLine:
    """What a line of a log says."""
    start = line.find(b"{")
    wrapper = _json_object(line[start:]) if start >= 0 else None
    if wrapper is None:
        return _read_text(line.decode("utf-8", "surrogateescape"), "")
    if "MESSAGE" in wrapper and "__REALTIME_TIMESTAMP" in wrapper:
        if wrapper["MESSAGE"] is None:
            return LogLine(lost=TOO_LONG_FOR_JOURNALCTL)
        return _read_message(_journal_text(wrapper["MESSAGE"]), _journal_time(wrapper["__REALTIME_TIMESTAMP"]))
    log = wrapper.get("log")
    if isinstance(log, str) and "time" in wrapper:
        return _read_message(log.rstrip("\n"), str(wrapper["time"]))
    return _of_json(wrapper)


def _read_message(text: str, time: str) -> LogLine:
    """The text within another log's JSON: JSON of ours, or any text."""
    start = text.find("{")
    fields = _json_object(text[start:]) if start >= 0 else None
    return _of_json(fields) if fields is not None else _read_text(text, time)


def _of_json(fields: dict[str, object]) -> LogLine:
    """A line of our log in JSON. A note of a `log` line is followed by the decision, which has the request."""
    if fields.get("event") != "decision" or "note" in fields:
        return LogLine()
    time, attributes = str(fields.get("time", "")), fields.get("request")
    if not isinstance(attributes, dict):
        logged = _logged_attributes(fields)
        return LogLine(fields, logged and {name: with_raw_bytes(value) for name, value in logged.items()}, time=time)
    if not all(isinstance(each, str) for each in attributes.values()):
        attributes = {}
    return LogLine(fields, {name: with_raw_bytes(value) for name, value in attributes.items()}, whole=True, time=time)


def _read_text(text: str, time: str) -> LogLine:
    found = _LOGFMT_HEAD.search(text)
    if found:
        fields = {name: _unescaped(quoted) if quoted else plain for name, quoted, plain in _LOGFMT.findall(text)}
        if fields.get("event") != "decision" or "note" in fields:
            return LogLine()
        return LogLine(fields, _logged_attributes(fields), time=fields.get("time", ""))
    rejected = _REJECT.search(text)
    if rejected:
        written = _ISO_TIME.match(text)
        return LogLine(attributes=_rejected_attributes(rejected, text), time=time or (written[1] if written else ""))
    return LogLine(lost="" if time else UNREADABLE)


def _logged_attributes(fields: Mapping[str, object]) -> dict[str, str] | None:
    """The attributes that every decision's line has, under the names that they have there."""
    found = {name: str(fields[word]) for name, word in LOGGED_AS.items() if word in fields}
    return {"request": REQUEST_NAME, **found} if found else None


def _rejected_attributes(found: re.Match[str], text: str) -> dict[str, str]:
    of_client = ("client_name", "client_address", "client_port")
    named = {"protocol_state": found["state"], **{name: found[name] for name in of_client if found[name]}}
    named["queue_id"] = "" if found["queue_id"] == "NOQUEUE" else found["queue_id"]
    # The envelope ends the line; what the reply says before it may look like anything.
    envelope = text[max(text.rfind("; from=<"), text.rfind("; proto="), text.rfind("; to=<")) + 1 :]
    for name, value in _REJECT_FIELD.findall(envelope):
        named[_ATTRIBUTE_OF.get(name, name)] = _envelope_value(value)
    return {"request": REQUEST_NAME, **named}


def _envelope_value(value: str) -> str:
    """Without its brackets, and a local part without the quotes that a policy request does not have."""
    inner = value[1:-1] if value.startswith("<") and value.endswith(">") else value
    quoted = _QUOTED_LOCAL_PART.fullmatch(inner)
    return re.sub(r"\\(.)", r"\1", quoted[1]) + (quoted[2] or "") if quoted else inner


def _journal_text(message: object) -> str:
    """A MESSAGE: text, or a list of bytes, or a list of either where the entry has several."""
    if isinstance(message, list) and all(isinstance(each, int) and 0 <= each < 256 for each in message):
        return bytes(message).decode("utf-8", "surrogateescape")
    if isinstance(message, list):
        return _journal_text(message[0])
    return str(message)


def _journal_time(microseconds: object) -> str:
    try:
        return datetime.fromtimestamp(int(str(microseconds)) / 1e6, UTC).isoformat()
    except (ValueError, TypeError, OverflowError, OSError):
        return ""


def _json_object(text: str | bytes) -> dict[str, object] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_unescaped_character, text) if "\\" in text else text


def _unescaped_character(found: re.Match[str]) -> str:
    byte, short, long, character = found.groups()
    if byte:
        return chr(0xDC00 + int(byte, 16))
    if short or long:
        return chr(int(short or long, 16))
    return _SHORT_ESCAPES.get(character, character)
