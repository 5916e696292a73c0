"""The text of a Received-SPF header (RFC 7208 9.1): result, a comment for people, and pairs for programs.

Pure. What a client or a record brings is quoted, so that it ends neither its value nor the comment; a header that would
be too long loses whole parts, the least useful one first.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_BYTES: Final = 400

_DOT_ATOM = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_IN_QUOTES = re.compile(r'["\\]')
_IN_COMMENT = re.compile(r"[()\\]")

_MEANS: Final = {
    "pass": "domain of {of} designates {client} as permitted sender",
    "fail": "domain of {of} does not designate {client} as permitted sender",
    "softfail": "domain of {of} discourages use of {client} as permitted sender",
    "neutral": "domain of {of} does not say whether {client} may send",
    "none": "domain of {of} has no SPF record",
    "permerror": "the SPF record of {of} cannot be used",
    "temperror": "the DNS does not answer about {of}",
}
# What a header can do without, in the order in which it goes.
_DROPPED: Final = ("comment", "problem", "mechanism", "helo", "envelope-from", "receiver")


class Checked(NamedTuple):
    """What was checked, and what came of it."""

    client: str
    sender: str
    helo: str
    result: str
    mechanism: str
    problem: str


def received_spf(checked: Checked, receiver: str) -> str:
    """The header's text, without its name: one printable line of MAX_BYTES at most."""
    comment = f"{receiver}: {_MEANS[checked.result]}".format(of=checked.sender or checked.helo, client=checked.client)
    parts = {
        "comment": f"({_IN_COMMENT.sub(_escaped, comment)})",
        **_pair("client-ip", checked.client),
        **_pair("envelope-from", checked.sender),
        **_pair("helo", checked.helo),
        **_pair("receiver", receiver),
        **_pair("identity", "mailfrom" if checked.sender else "helo"),
        **_pair("mechanism", checked.mechanism),
        **_pair("problem", checked.problem),
    }
    text = _joined(checked.result, parts)
    for name in _DROPPED:
        if len(text.encode("utf-8", "replace")) <= MAX_BYTES:
            break
        parts.pop(name, None)
        text = _joined(checked.result, parts)
    return text


def _joined(result: str, parts: dict[str, str]) -> str:
    comment = [parts["comment"]] if "comment" in parts else []
    pairs = "; ".join(text for name, text in parts.items() if name != "comment")
    text = " ".join([result, *comment, pairs])
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def _pair(name: str, value: str) -> dict[str, str]:
    """Nothing for an empty value."""
    if not value:
        return {}
    quoted = value if _DOT_ATOM.fullmatch(value) else f'"{_IN_QUOTES.sub(_escaped, value)}"'
    return {name: f"{name}={quoted}"}


def _escaped(found: re.Match[str]) -> str:
    return f"\\{found[0]}"
