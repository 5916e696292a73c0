"""Expressions of regexp: (POSIX, as glibc has it) and pcre: tables as ours, which are RE2. Pure.

Raises ValueError with the reason where the two would not match the same texts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from forkpolicy.importing.expressions import regex_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.importing.access.pattern_lines import Pattern

# An escape, a class of characters, a group that says how it is meant, or one character.
_PIECES: Final = re.compile(r"\\.|\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]|\(\?|.", re.DOTALL)
_POSIX_PIECES: Final = re.compile(r"\\.|\[\^?\]?(?:\[:\w+:\]|[^\]])*\]|\(\?|.", re.DOTALL)
_QUANTIFIER: Final = re.compile(r"[*+?]|\{\d+(?:,\d*)?\}")
# One line of text has nothing for m, s, D and U to change.
_WITHOUT_EFFECT: Final = {"regexp": "m", "pcre": "msEUX"}
_GNU_ESCAPES: Final = "wWsSbB"
_OF_ADDRESSES: Final = "0123456789abcdef:."


def value_of(kind: str, pattern: Pattern, *, lowered: bool) -> str:
    """The value for a pattern. `lowered`: it is compared with a text in lower case. Raises ValueError."""
    folds, text = True, pattern.text
    for flag in pattern.flags:
        if flag == "i":
            folds = not folds
        elif flag == "A" and kind == "pcre":
            text = f"^(?:{text})"
        elif flag not in _WITHOUT_EFFECT[kind]:
            raise ValueError(f'the flag "{flag}" has no equal here')
    pieces = _posix(text) if kind == "regexp" else _PIECES.findall(text)
    if not folds and lowered:
        # Postfix compares addresses in lower case, so an upper case letter never matches.
        if any(char.isupper() for piece in pieces if piece[0] != "\\" for char in piece):
            raise ValueError('a capital with the flag "i" never matches: Postfix compares addresses in lower case')
        folds = True
    return regex_value("".join(pieces), folds=folds)


def may_match_address(value: str) -> bool:
    """Whether an expression of ours may be found in the text of an IP address; False is certain.

    It is not found where each way to match it needs a character that no address has.
    """
    pieces = _PIECES.findall(value[1:-1].removeprefix("(?-i)"))
    try:
        needs, at = _needs_other(pieces, 0)
    except ValueError:
        return True
    return not (needs and at == len(pieces))


def _needs_other(pieces: Sequence[str], at: int) -> tuple[bool, int]:
    """Whether each alternative up to a `)` needs a character that no address has. Raises ValueError if unknown."""
    branches: list[bool] = []
    needs = False
    while at < len(pieces) and pieces[at] != ")":
        piece = pieces[at]
        at += 1
        if piece == "|":
            branches.append(needs)
            needs = False
            continue
        if piece in ("(", "(?"):
            if piece == "(?" and pieces[at : at + 1] != [":"]:
                raise ValueError("a group with flags or a name")
            own, at = _needs_other(pieces, at + (piece == "(?"))
            if pieces[at : at + 1] != [")"]:
                raise ValueError("a group that is not closed")
            at += 1
        else:
            own = _is_other(piece)
        optional = pieces[at : at + 1] in (["*"], ["?"]) or pieces[at : at + 2] == ["{", "0"]
        needs = needs or (own and not optional)
    return all([*branches, needs]), at


def _is_other(piece: str) -> bool:
    """Whether what a piece matches is never part of an address."""
    if len(piece) == 1:
        return piece not in "^$.*+?{}" and piece.lower() not in _OF_ADDRESSES
    if piece[0] == "[":
        found = re.compile(piece.replace("[:alnum:]", "a-z0-9").replace("[:", "a"), re.IGNORECASE)
        return not any(found.match(char) for char in _OF_ADDRESSES)
    return not piece[1].isalnum() and piece[1] not in _OF_ADDRESSES


def _posix(text: str) -> list[str]:
    """The pieces of a POSIX expression, written so that RE2 takes them for the same."""
    pieces: list[str] = []
    quantified = False
    for piece in _POSIX_PIECES.findall(text):
        is_quantifier = _QUANTIFIER.fullmatch(piece) is not None
        if piece == "(?":
            raise ValueError('"(?" is not known in a regexp: table')
        if (is_quantifier or piece == "{") and quantified:
            raise ValueError(f'"{piece}" behind a repetition means something else here')
        quantified = is_quantifier or piece == "}"
        if piece[0] == "\\" and piece[1:].isalnum() and piece[1:] not in _GNU_ESCAPES:
            raise ValueError(rf'"{piece}" is not a class in a regexp: table: there it is the character "{piece[1:]}"')
        pieces.append(piece.replace("\\", r"\\") if piece[0] == "[" else piece)
    return pieces
