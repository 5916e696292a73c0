"""A policy request: what the bytes between two empty lines say. The exact and slow way; `layout` is the fast one.

Facts from SMTPD_POLICY_README and Postfix's attr_scan_plain.c: a line is `name=value`, split at its first `=`; a name
has no `=`, a value no newline; the order is free; a name may be unknown, a value empty or not UTF-8. Decisions of
ours: of a repeated name the last value counts; a line without `=` is passed over; a request whose first line ends
in CR LF (typed by hand through socat or telnet) has a CR taken from the end of each line. Raises ProtocolError for
anything that is not a request.
"""

from __future__ import annotations

from typing import NamedTuple

REQUEST_NAME = "smtpd_access_policy"


class ProtocolError(Exception):
    """The peer sent something that is not a policy request; the connection ends. `shown` has its first bytes."""

    def __init__(self, message: str, raw: bytes) -> None:
        super().__init__(message)
        self.shown = raw[:80]


class Request(NamedTuple):
    """The attributes by name. Absent ones are simply not there; `get` answers "" for them."""

    attributes: dict[str, str]
    # The names as they stood, or None when the lines were not plain `name=value` without repetition.
    layout: tuple[str, ...] | None

    def get(self, name: str) -> str:
        """The value of an attribute, empty when Postfix did not send it."""
        return self.attributes.get(name, "")

    @classmethod
    def parse(cls, raw: bytes) -> Request:
        """Parse one request, its closing empty line included or not. Raises ProtocolError."""
        # Latin-1 in a HELO or an address is real: surrogateescape keeps every byte, and a lookup of it finds nothing.
        lines = raw.decode("utf-8", "surrogateescape").split("\n")
        if lines[0].endswith("\r"):
            lines = [line.removesuffix("\r") for line in lines]
        while lines and not lines[-1]:
            lines.pop()
        attributes = dict(line.split("=", 1) for line in lines if "=" in line)
        if not attributes:
            raise ProtocolError("no line of the form name=value", raw)
        if attributes.get("request") != REQUEST_NAME:
            raise ProtocolError(f"expected a line request={REQUEST_NAME}", raw)
        plain = len(attributes) == len(lines) and not raw.partition(b"\n")[0].endswith(b"\r")
        return cls(attributes, tuple(attributes) if plain else None)
