"""Regular expressions of other languages as values of ours: RE2 between slashes, one word. Pure but for RE2.

Raises ValueError with the reason where RE2 has no equal: look-around, back-references.
"""

from __future__ import annotations

import re

from forkpolicy.policy.matchers.regex import check_regex, refuse_expression

# An escaped character, or one that would end the word or the expression.
_SPECIAL = re.compile(r"\\(.)|([\s/]|[^ -~])", re.DOTALL)
_BLANKS = {" ": r"\x20", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\f": r"\f", "\v": r"\v"}


def regex_value(pattern: str, *, folds: bool = True) -> str:
    """The value for a pattern that is searched for. `folds`: whether it folds case, as ours do. Raises ValueError."""
    if not pattern:
        raise ValueError("an empty expression")
    text = _SPECIAL.sub(_as_word, pattern)
    text = f"/{text if folds else f'(?-i){text}'}/"
    check_regex(text)
    refuse_expression(text[1:-1])
    return text


def literal_value(text: str, *, folds: bool = True, whole: bool = True) -> str:
    """The expression for a text itself: all of the value, or anywhere in it."""
    escaped = re.sub(r"([^A-Za-z0-9_@<>`'-])", _escaped, text)
    return regex_value(f"^{escaped}$" if whole else escaped, folds=folds)


def _as_word(found: re.Match[str]) -> str:
    escaped, bare = found.groups()
    if bare == "/":
        return r"\/"
    char = bare or escaped
    # A backslash in front of a blank only says that the blank is meant.
    return _code(char) if char.isspace() or not char.isprintable() else found[0]


def _escaped(found: re.Match[str]) -> str:
    char = found[1]
    return _code(char) if char.isspace() else f"\\{char}" if char.isascii() else char


def _code(char: str) -> str:
    return _BLANKS.get(char) or f"\\x{{{ord(char):x}}}"
