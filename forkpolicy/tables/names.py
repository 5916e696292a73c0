"""What an operator may write for a domain, a host or a mail address, and the key that it stands for. Strict.

`keys` folds what requests bring and never raises; here ValueError says what is wrong with a pattern and what was
meant. The forms are those of access(5): `user@example.com`, `@example.com` or `example.com` (that domain),
`.example.com` (every domain below it), `user@` (that local part anywhere), `<>` (the null sender). Policies and
table sources share them.
"""

from __future__ import annotations

import re
from typing import Final

from forkpolicy.tables.keys import MAX_NAME_CHARS, NULL_SENDER, fold_domain, split_address

# Underscores are no host names but real in mail (SRV-like names, HELO of appliances).
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NAME: Final = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")

QUOTED_KEY: Final = re.compile(r'\s*"([^"]*)"(@[^\s,]*)?(?=\s|$)')

# What ends in a number is an address, or was meant as one.
NUMERIC_TOP: Final = re.compile(r"(^|\.)\d+$")


def parse_host_pattern(text: str) -> str:
    """The key of `host.example.com` or `.example.com`. Raises ValueError."""
    if text.startswith("*."):
        raise ValueError(f'every name below a domain is written with a leading dot: did you mean "{text[1:]}"?')
    if text.startswith("@"):
        raise ValueError(f'this is a name, no mail address: did you mean "{text[1:]}"?')
    if "@" in text:
        domain = split_address(text)[1]
        meant = f': did you mean "{domain}"?' if domain else ""
        raise ValueError(f'"{text}" is a mail address, no name{meant}')
    below = "." if text.startswith(".") else ""
    return below + _parse_name(text[len(below) :], text)


def parse_address_pattern(text: str) -> str:
    """The key of a mail address pattern, as `kinds.address` lists them. Raises ValueError."""
    if text == NULL_SENDER:
        return text
    if text.startswith("<") and text.endswith(">"):
        raise ValueError(f'addresses stand without angle brackets: did you mean "{text[1:-1]}"?')
    local, domain = split_address(text)
    if "@" not in text or not local:
        name = text.removeprefix("@")
        if text.startswith("@."):
            raise ValueError(f'every domain below one is written with a leading dot: did you mean "{text[1:]}"?')
        return parse_host_pattern(name)
    if not domain:
        return f"{local.casefold()}@"
    if domain.startswith("."):
        raise ValueError(f'a local part goes with one domain or with all: did you mean "{domain}" or "{local}@"?')
    if domain.startswith("["):
        return f"{local.casefold()}@{domain.lower()}"
    return f"{local.casefold()}@{_parse_name(domain, text)}"


def unquoted(key: str) -> str:
    """A key, or the local part of an address, without the quotes that Postfix's maps have and its requests have not."""
    quoted = QUOTED_KEY.fullmatch(key)
    # `""@example.com` is an address with an empty local part, `@example.com` would be all of the domain.
    return quoted[1] + (quoted[2] or "") if quoted and (quoted[1] or not quoted[2]) else key


def _parse_name(name: str, text: str) -> str:
    folded = fold_domain(name)
    if not folded:
        raise ValueError(f'"{text}" has no name')
    if len(folded) > MAX_NAME_CHARS:
        raise ValueError(f"a name of {len(folded)} characters: DNS allows {MAX_NAME_CHARS}")
    if _NAME.fullmatch(folded):
        return folded
    wrong = next(label for label in folded.split(".") if not _LABEL.fullmatch(label))
    if not wrong:
        raise ValueError(f'"{text}" has an empty label: two dots in a row, or one at an end')
    raise ValueError(f'"{text}" is not a name: "{wrong[:63]}" is not a label of letters, digits, "-" and "_"')
