"""Another policy server, asked with the request at hand: the question, and what of the received bytes is its reply.

As Postfix 3.7 reads our own replies: lines `name=value`, an empty line at the end; `action` may be the only name,
others are passed over, and of two the first counts; CR LF ends no line. Stricter than Postfix: a line without `=`,
which it passes over, is what a server of another protocol says; an empty action, which it takes for OK, is none; and
with a second reply behind the first one nobody knows which is meant. Pure. Raises WorldError with the reason for bytes
that are not one reply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from forkpolicy.errors import WorldError

# Postfix has no limit. A reply is one SMTP line: 8 KiB are sixteen times what may stand in one.
MAX_REPLY_BYTES: Final = 8192
SHOWN_BYTES: Final = 60

_END: Final = b"\n\n"
_ACTION: Final = b"action="


@dataclass(frozen=True, slots=True)
class Service:
    """One server. Its answer is the action of its reply, a text. Two ACLs with one endpoint have equal questions,
    whatever their time limits: a request asks each server once, since that may count.
    """

    kind: ClassVar[str] = "service"

    endpoint: str
    timeout_s: int = field(compare=False)


def reply_of(received: bytes) -> str | None:
    """The action of a reply; None while it is not whole."""
    end = received.find(_END)
    lines = received[: end + 1 if end >= 0 else len(received)].split(b"\n")
    # What stands behind the last newline may be the beginning of a line.
    for line in lines[:-1]:
        if b"=" not in line:
            raise WorldError(f"replied {_shown(line)}, which is not a line name=value")
    if len(received) > MAX_REPLY_BYTES:
        raise WorldError(f"sent more than {MAX_REPLY_BYTES} bytes for one reply")
    if end < 0:
        return None
    if len(received) > end + len(_END):
        raise WorldError(f"sent {_shown(received[end + len(_END) :])} behind its reply")
    return _action(lines)


def _action(lines: list[bytes]) -> str:
    found = next((line for line in lines if line.startswith(_ACTION)), None)
    if found is None:
        raise WorldError("replied without an action=")
    try:
        action = found[len(_ACTION) :].decode("utf-8").strip()
    except UnicodeDecodeError:
        raise WorldError(f"replied {_shown(found)}, which is not UTF-8") from None
    if not action:
        raise WorldError("replied with an empty action=, which Postfix would take for OK")
    return action


def _shown(raw: bytes) -> str:
    text = raw[:SHOWN_BYTES].decode("utf-8", "backslashreplace")
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return f'"{shown}{"..." if len(raw) > SHOWN_BYTES else ""}"'
