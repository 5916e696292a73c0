"""`sender_domain`, `recipient_localpart` and their like: parts of an address, asked of the whole. Pure but for RE2."""

from __future__ import annotations

from typing import Final

from forkpolicy.importing.expressions import literal_value, regex_value
from forkpolicy.importing.postfwd.cannot import CannotError
from forkpolicy.importing.postfwd.perl import expression, finds, pieces_of
from forkpolicy.tables.names import parse_host_pattern

# Each with the attribute that it is a part of, and whether it is the domain.
PARTS: Final = {
    "sender_domain": ("sender", True),
    "recipient_domain": ("recipient", True),
    "sender_localpart": ("sender", False),
    "recipient_localpart": ("recipient", False),
}


def equal(text: str, *, is_domain: bool) -> str:
    """The value that holds where the part is this text. Raises CannotError."""
    if "@" in text and is_domain:
        raise CannotError(f"no domain is {text}")
    if is_domain:
        try:
            if parse_host_pattern(text) == text.lower() and text[0] != ".":
                return f"@{text}"
        except ValueError:
            pass
        return regex_value(f"@{_bare(text)}$")
    return regex_value(f"^{_bare(text)}@[^@]*$")


def has_value(*, is_domain: bool) -> str:
    """The value that holds where the part is there, and not the "0" that is nothing to Perl."""
    return "/@(0[^@]|[^0@])[^@]*$/" if is_domain else "/^(0.|[^0]).*@[^@]*$/"


def searched(text: str, *, is_domain: bool) -> str:
    """The value for an expression that is searched for in the part. Raises CannotError."""
    word = expression(text)
    if finds(word, ""):
        raise CannotError(f"the expression {text} is found where there is no part, too")
    pattern = word[1:-1]
    starts, ends = pattern.startswith("^"), _ends(pattern)
    core = pattern[1 if starts else 0 : -1 if ends else None]
    pieces = pieces_of(core)
    if "^" in pieces or "$" in pieces or any(each in (r"\A", r"\z", r"\b", r"\B") for each in pieces):
        raise CannotError(f"the expression {text}: an anchor in the middle, asked of a part of an address")
    has_alternatives = _has_alternatives(pieces)
    if has_alternatives and (starts or ends):
        raise CannotError(f"the expression {text}: an alternative next to an anchor, asked of a part of an address")
    core = f"(?:{core})" if has_alternatives else core
    if is_domain:
        before, after = "@" if starts else "@[^@]*", "$" if ends else "[^@]*$"
    else:
        before, after = "^" if starts else "", "@[^@]*$" if ends else ".*@[^@]*$"
    try:
        return regex_value(f"{before}{core}{after}")
    except ValueError as error:
        raise CannotError(f"the expression {text}: {error}") from error


def _has_alternatives(pieces: list[str]) -> bool:
    """Whether a `|` stands outside of all brackets."""
    depth = 0
    for piece in pieces:
        depth += (piece == "(") - (piece == ")")
        if piece == "|" and not depth:
            return True
    return False


def _ends(pattern: str) -> bool:
    return pieces_of(pattern)[-1:] == ["$"]


def _bare(text: str) -> str:
    return literal_value(text, whole=False)[1:-1]
