"""A log line as bytes: its fields as logfmt or JSON, one newline. In front of them stands the line's priority, but for
those of most lines, so that most of what is read from the pipe can be written as it is.

Values come from outside: whatever is not a printable character is escaped, so that one event is one line and a
terminal that shows it does nothing but show it. A line is at most PIPE_BUF bytes; its values are cut until it is.
Raises nothing. This is the exact way, for any fields; log_formats.py has a fast one, with the same bytes.
"""

from __future__ import annotations

import json
import re
import select
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Style = Literal["logfmt", "json"]

# Linux's PIPE_BUF: up to here a write to a pipe is atomic (pipe(7)).
MAX_LINE_BYTES = select.PIPE_BUF
# A syslog(3) severity, that of nearly all lines.
INFO = 6
# In front of another severity's digit. No line has this byte: what is not printable is escaped.
MARK = b"\1"
# Values are cut to the first of these lengths that makes the line fit.
CUT_CHARACTERS = (1000, 250, 60)
# Addresses are rarely longer: shorter ones are found under no name.
SHORTEST_WITH_LISTS = 60
# What stays of a line that is still too long then, and of the request in it.
KEPT = ("time", "level", "event", "pid", "worker", "action", "line", "id", "host", "in_force")
IDENTITY = (
    "request",
    "protocol_state",
    "client_address",
    "sender",
    "recipient",
    "sasl_username",
    "queue_id",
    "instance",
)

_MARKED = re.compile(b"^%b." % MARK, re.MULTILINE).sub
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+").fullmatch
_QUOTES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def line_bytes(style: str, priority: int, fields: Mapping[str, object]) -> bytes:
    """The line of these fields, in their order."""
    encode = _json if style == "json" else _logfmt
    mark = marked(priority)
    line = f"{mark}{encode(fields)}\n".encode()
    shortened = _shortened(fields)
    while len(line) > MAX_LINE_BYTES:
        line = f"{mark}{encode(next(shortened))}\n".encode()
    return line


def _shortened(fields: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The same with less and less in it, and what was cut; the last one fits.

    Lists say why, and a dict what was asked: of a rule with fifty terms the request is worth more than the terms.
    """
    lists = [key for key, value in fields.items() if isinstance(value, list)]
    without = {key: value for key, value in fields.items() if key not in lists}
    for kept, left_out in ((fields, []), (without, lists)) if lists else ((fields, []),):
        for length in CUT_CHARACTERS:
            if kept is without or not lists or length > SHORTEST_WITH_LISTS:
                said = "".join(f"; {key} left out" for key in left_out)
                yield {**{key: _cut(value, length) for key, value in kept.items()}, "cut": f"values at {length}{said}"}
    few = {key: _cut(fields[key], CUT_CHARACTERS[-1]) for key in KEPT if key in fields}
    asked = fields.get("request")
    if isinstance(asked, dict):
        identity = {key: value for key, value in asked.items() if key in IDENTITY}
        yield {**few, "request": _cut(identity, CUT_CHARACTERS[-1]), "cut": "line too long"}
    yield {**few, "cut": "line too long"}


def marked(priority: int) -> str:
    """What a line of that priority begins with."""
    return "" if priority == INFO else f"{MARK.decode()}{priority}"


def priority_and_text(line: bytes) -> tuple[int, bytes]:
    """The priority of a line, and what is left of it."""
    return (int(line[1:2]), line[2:]) if line.startswith(MARK) else (INFO, line)


def without_priorities(lines: bytes) -> bytes:
    """The texts of whole lines."""
    return _MARKED(b"", lines) if MARK in lines else lines


def logfmt_value(value: object) -> str:
    """A value as it stands behind its name and `=`."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        value = _logfmt(value)
    text = str(value)
    return text if _PLAIN(text) else f'"{escaped(text)}"'


def json_value(value: object) -> str:
    """A value as JSON, in ASCII."""
    return json.dumps(_for_json(value), separators=(",", ":"))


def escaped(text: str) -> str:
    r"""A text as it may stand in quotes on one line: what is not printable as an escape, raw bytes as `\xNN`."""
    if text.isascii() and text.isprintable():
        return text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(_escaped_character(character) for character in text)


def _escaped_character(character: str) -> str:
    code = ord(character)
    if character in _QUOTES:
        return _QUOTES[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _logfmt(fields: Mapping[str, object]) -> str:
    return " ".join(f"{key}={logfmt_value(value)}" for key, value in fields.items())


def _json(fields: Mapping[str, object]) -> str:
    return json.dumps({key: _for_json(value) for key, value in fields.items()}, separators=(",", ":"))


def _for_json(value: object) -> object:
    if isinstance(value, dict):
        return {_json_text(str(key)): _for_json(each) for key, each in value.items()}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, list):
        return [_for_json(each) for each in value]
    return _json_text(str(value))


def _json_text(text: str) -> str:
    # A lone surrogate is not valid JSON for most readers: raw bytes become the text \xNN, in names of attributes, too.
    return text if text.isascii() else "".join(_without_surrogate(character) for character in text)


def _without_surrogate(character: str) -> str:
    code = ord(character)
    if not 0xD800 <= code <= 0xDFFF:
        return character
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _cut(value: object, length: int) -> object:
    if isinstance(value, dict):
        return {str(key)[:length]: _cut(each, length) for key, each in value.items()}
    if isinstance(value, list):
        return [_cut(each, length) for each in value]
    text = str(value)
    return value if len(text) <= length else f"{text[:length]}..."
