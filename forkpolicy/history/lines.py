"""What a line of the history's log says: a decision, what is in force, that decisions are missing, or nothing known.

The log is ours, but a disk, an editor or another program may have been at it: `read_line` never raises, and what it
cannot read it names.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from forkpolicy.decision_ids import ALPHABET, ID_CHARS
from forkpolicy.postfix.addresses import PLAIN

# As the server names decisions and files.
ID: Final = re.compile(rf"[{ALPHABET}]{{{ID_CHARS}}}")
# Ours have at most PIPE_BUF bytes (log.py).
MAX_LINE_BYTES: Final = 1 << 16
# What a line of versions has, and nearly no other.
NAMES_VERSIONS: Final = b'"in force"'
# What the log says when it has lost lines, at the pipe or at the disk.
_LOST: Final = ("log lines dropped", "log lines lost")
_ADDRESSES: Final = ("sender", "recipient", "sasl_username")
# More than a disk ever held, and still a number of SQLite's.
_MOST_LOST: Final = 1 << 62


class Decision(NamedTuple):
    """One decision. `at_ms`: since 1970; `rule`: the file and line of its rule; `request`: as Postfix sent it;
    `is_cut`: whether values were cut where the line would have been too long; `raw`: the line itself.
    """

    id: str
    at_ms: int
    host: str
    in_force: str
    action: str
    rule: str
    acls: str
    request: dict[str, str]
    is_cut: bool
    raw: bytes

    @property
    def sender(self) -> str | None:
        """Its sender, which may be the null sender; None where nobody has said one yet."""
        sender = self.request.get("sender")
        return sender or (None if self.request.get("protocol_state") == "CONNECT" else sender)

    @property
    def is_odd(self) -> bool:
        """Whether a policy may see other addresses in it than it is found by: what Postfix rewrites, what folds in more
        than one way, what was cut.
        """
        request = self.request
        return self.is_cut or not all(_is_usual(name, request.get(name)) for name in _ADDRESSES)


class Gap(NamedTuple):
    """So many decisions did not reach the log, and why."""

    at_ms: int
    decisions: int
    reason: str


class Versions(NamedTuple):
    """What an id stands for: versions of the policy and of its tables (`name@version,...`) on a host, and of the
    settings that change decisions (empty: an older server did not log it). `is_cut`: not all tables had room.
    """

    at_ms: int
    id: str
    host: str
    policy: str
    tables: str
    settings: str = ""
    is_cut: bool = False


class Odd(NamedTuple):
    """A line that is none of ours, or was torn."""

    reason: str


Line = Decision | Gap | Versions | Odd | None
"""None: a line of ours that says nothing about decisions."""


def read_line(raw: bytes) -> Line:
    """What one line says, its end included or not."""
    if len(raw) > MAX_LINE_BYTES:
        return Odd(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        return Odd("not JSON")
    if not isinstance(fields, dict):
        return Odd("not an object")
    try:
        if b"\\u" in raw or not raw.isascii():
            # Half a character (U+D800) may stand in JSON, but cannot be kept.
            json.dumps(fields, ensure_ascii=False).encode()
        return _line_of(fields, raw)
    except UnicodeEncodeError:
        return Odd("half a character")
    except KeyError as error:
        return Odd(f"without {error}")
    except (RecursionError, TypeError, ValueError, AttributeError):
        # The value itself may be an address, which stays in no file of its own.
        return Odd("a field has a value of another kind than the server writes")


def file_id(raw: bytes) -> str:
    """The name that the first line of a file gives it; empty where it is not such a line."""
    try:
        fields = json.loads(raw)
        name = fields["file"] if fields["event"] == "file begins" else ""
        return name if isinstance(name, str) and ID.fullmatch(name) else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _line_of(fields: dict[str, object], raw: bytes) -> Line:
    event = fields["event"]
    if event == "decision":
        if "id" not in fields:
            return (
                None if fields.get("note") else Odd("a decision without an id: was this written by an older version?")
            )
        return _decision(fields, raw)
    at_ms = milliseconds(str(fields["time"]))
    if event in _LOST:
        count = min(int(str(fields["count"])), _MOST_LOST)
        return Gap(at_ms, count, str(fields.get("reason", "the target of the log took nothing")))
    if event == "in force":
        in_force, host, policy, tables = (str(fields[name]) for name in ("in_force", "host", "policy", "tables"))
        return Versions(at_ms, in_force, host, policy, tables, str(fields.get("settings", "")), "cut" in fields)
    return None


def _decision(fields: dict[str, object], raw: bytes) -> Decision:
    request = fields.get("request")
    if request is None and "cut" in fields:
        # Nothing but its id and its action had room.
        request = {}
    if not isinstance(request, dict):
        raise TypeError("a decision without its request")
    texts = {name: value for name, value in request.items() if isinstance(value, str)}
    return Decision(
        str(fields["id"]),
        milliseconds(str(fields["time"])),
        str(fields["host"]),
        str(fields["in_force"]),
        str(fields["action"]),
        str(fields["line"]),
        str(fields.get("acls", "")),
        texts,
        "cut" in fields,
        raw.rstrip(b"\n"),
    )


def _is_usual(name: str, address: str | None) -> bool:
    return not address or (address.isascii() and (name == "sasl_username" or PLAIN(address) is not None))


def milliseconds(time: str) -> int:
    """A time of the log (`2026-11-28T18:30:12.123Z`) in milliseconds since 1970. Raises ValueError."""
    return _minute_ms(time[:16]) + int(time[17:19]) * 1000 + int(time[20:23])


@lru_cache(maxsize=64)
def _minute_ms(text: str) -> int:
    return int(datetime.strptime(f"{text}+0000", "%Y-%m-%dT%H:%M%z").astimezone(UTC).timestamp()) * 1000


def time_text(at_ms: int) -> str:
    """The same time as the log has it."""
    seconds, thousandths = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{thousandths:03d}Z"
