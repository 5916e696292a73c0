r"""Expressions of Python's `re`, which apolicy searched with, as the text of RE2 expressions that find the same.

Most are equal in both. What RE2 reads as something else is rewritten (`\Z`, `{,3}`, `\<`) or refused: POSIX classes,
`\Q`, `\p`, octal numbers, which Python knows as plain characters or as back-references. Raises ValueError with the
reason. Whether RE2 takes the rest (look-around, back-references) is for `expressions.regex_value` to say.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"\\.?|\[\^?\]?(?:\\.|[^\]\\])*\]|\{,\d*\}|.", re.DOTALL)
# Letters behind a backslash that mean the same in both. `\B` does not: of an empty text Python says no.
_SAME: Final = frozenset("AbdDsSwWafnrtvx")
_REWRITTEN: Final = {r"\Z": r"\z", r"\<": "<", r"\>": ">", r"\'": "'", r"\`": "`"}
_IN_CLASS: Final = re.compile(r"\\(.)", re.DOTALL)


def as_re2(pattern: str) -> str:
    """The expression for RE2. Raises ValueError."""
    if not pattern.isascii():
        raise ValueError("apolicy searched through bytes, this looks for characters: outside ASCII they may differ")
    if "(?i)" in pattern.removeprefix("(?i)"):
        raise ValueError('"(?i)" within an expression is about all of it in Python, and about what follows here')
    return "".join(_token(found[0]) for found in _TOKEN.finditer(pattern))


def _token(token: str) -> str:
    if token[0] == "[" and len(token) > 1:
        _refuse_class(token)
        return token
    if token.startswith("{,"):
        return f"{{0{token[1:]}"
    if token[0] != "\\":
        return token
    if token in _REWRITTEN:
        return _REWRITTEN[token]
    if len(token) == 1:
        raise ValueError("it ends with a backslash")
    if token[1].isalnum() and token[1] not in _SAME:
        raise ValueError(f'"{token}" means something else in these expressions (RE2), or is not known to them')
    return token


def _refuse_class(token: str) -> None:
    if "[:" in token[1:] or "[=" in token[1:] or "[." in token[1:]:
        raise ValueError(f"{token}: Python knew no classes with names, and these expressions (RE2) do")
    for escaped in _IN_CLASS.findall(token):
        if escaped.isalnum() and escaped not in _SAME - set("Ab"):
            raise ValueError(f'"\\{escaped}" in {token} means something else in these expressions (RE2)')
