"""What Postfix's lmtp(8) says of a mail: the client by XFORWARD, sender and recipients with their parameters.

Addresses are kept as Postfix has them inside, without the quotes of SMTP. Raises EnvelopeError; its text is the reply.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

# XFORWARD_README: what lmtp(8) sends where the server offers it. IDENT is the queue id.
XFORWARD_NAMES: Final = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")
_PATH: Final = re.compile(r"<((?:[^<>\"\\]|\\.|\"(?:[^\"\\]|\\.)*\")*)>(?: +(.*))?", re.DOTALL)
_XTEXT: Final = re.compile(r"\+([0-9A-F]{2})")
_UNKNOWN: Final = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")


class EnvelopeError(ValueError):
    """The command is not valid; the text is the whole reply."""


@dataclass(slots=True)
class Recipient:
    """`notify`, `orcpt`: DSN options as they were given (RFC 3461), or empty."""

    address: str
    notify: str = ""
    orcpt: str = ""


@dataclass(slots=True)
class Envelope:
    """A mail's envelope. `client`: what XFORWARD said, by its names."""

    sender: str
    smtputf8: bool = False
    body8: bool = False
    envid: str = ""
    ret: str = ""
    recipients: list[Recipient] = field(default_factory=list)


def parse_xforward(argument: str) -> dict[str, str]:
    """Names and values; values that are not known are empty. Raises EnvelopeError."""
    found = {}
    for each in argument.split():
        name, equals, value = each.partition("=")
        if not equals or name.upper() not in XFORWARD_NAMES:
            raise EnvelopeError("501 5.5.4 Bad XFORWARD attribute")
        found[name.upper()] = "" if value.upper() in _UNKNOWN else _from_xtext(value)
    return found


def parse_mail(argument: str) -> Envelope:
    """`FROM:<...> PARAMETERS`. Raises EnvelopeError."""
    address, parameters = _path(argument, "FROM:")
    envelope = Envelope(address)
    for name, value in parameters.items():
        match name:
            case "BODY":
                envelope.body8 = value.upper() == "8BITMIME"
            case "SMTPUTF8":
                envelope.smtputf8 = True
            case "ENVID":
                envelope.envid = value
            case "RET":
                envelope.ret = value
            case "SIZE":
                pass
            case _:
                raise EnvelopeError(f"555 5.5.4 Unsupported option: {name}")
    return envelope


def parse_recipient(argument: str) -> Recipient:
    """`TO:<...> PARAMETERS`. Raises EnvelopeError."""
    address, parameters = _path(argument, "TO:")
    if not address:
        raise EnvelopeError("501 5.1.3 Bad recipient address syntax")
    if set(parameters) - {"NOTIFY", "ORCPT"}:
        raise EnvelopeError(f"555 5.5.4 Unsupported option: {min(set(parameters) - {'NOTIFY', 'ORCPT'})}")
    return Recipient(address, parameters.get("NOTIFY", ""), parameters.get("ORCPT", ""))


def _path(argument: str, keyword: str) -> tuple[str, dict[str, str]]:
    found = _PATH.fullmatch(argument[len(keyword) :].strip()) if argument[: len(keyword)].upper() == keyword else None
    if not found:
        raise EnvelopeError(f"501 5.5.4 Syntax: {keyword}<address>")
    if not _is_text(found[1]):
        # No row can have it. Later it will be no better: Postfix sends it back now, not in five days.
        raise EnvelopeError("553 5.1.3 The address is not valid UTF-8")
    words = (each.partition("=") for each in (found[2] or "").split() if _is_text(each))
    return _unquoted(found[1]), {name.upper(): value for name, _, value in words}


def _is_text(value: str) -> bool:
    """Whether it came as UTF-8; other bytes come as surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unquoted(address: str) -> str:
    """The address inside Postfix: `"john doe"@example.com` is `john doe@example.com`."""
    local, at, domain = address.rpartition("@")
    if local.startswith('"') and local.endswith('"') and len(local) > 1:
        local = re.sub(r"\\(.)", r"\1", local[1:-1], flags=re.DOTALL)
    return f"{local}{at}{domain}" if at else address


def quoted(address: str) -> str:
    """The address as SMTP has it between < and >."""
    local, at, domain = address.rpartition("@")
    if not at or re.fullmatch(r"[^\s()<>\[\]:;@\\,\"\x00-\x1f.]+(?:\.[^\s()<>\[\]:;@\\,\"\x00-\x1f.]+)*", local):
        return address
    escaped = re.sub(r'(["\\])', r"\\\1", local)
    return f'"{escaped}"@{domain}'


def _from_xtext(value: str) -> str:
    raw = _XTEXT.sub(lambda found: chr(int(found[1], 16)), value).encode("latin-1", "replace")
    return raw.decode("utf-8", "replace")
