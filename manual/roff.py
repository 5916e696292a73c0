r"""Text as man(7) reads it: escaped, in its font, in lines that begin with no control character. Pure.

Everything is ASCII: other characters are written as \[uXXXX], which groff and mandoc know in any locale.
Lines are broken at blanks after at most 78 bytes, because mandoc warns from 80 on.
"""

from __future__ import annotations

import textwrap
from typing import Final

LINE_BYTES: Final = 78
_PLAIN: Final = {"\\": "\\(rs", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", "'": "\\(aq"}
# In code a hyphen is the character that is typed, and not the dash of a text.
_LITERAL: Final = {**_PLAIN, "-": "\\-"}


def plain(text: str) -> str:
    """Words of a text."""
    return _escaped(text, _PLAIN)


def literal(text: str) -> str:
    """What is typed, or stands in a file, exactly so."""
    return _escaped(text, _LITERAL)


def bold(text: str) -> str:
    """Escaped text in bold."""
    return f"\\fB{text}\\fR"


def italic(text: str) -> str:
    """Escaped text in italics, which terminals underline."""
    return f"\\fI{text}\\fR"


def argument(text: str) -> str:
    """Escaped text as one argument of a macro."""
    return '"' + text.replace('"', "\\(dq") + '"'


def filled(text: str) -> list[str]:
    """Escaped text as lines of input that are filled again."""
    lines = textwrap.wrap(text, LINE_BYTES, break_long_words=False, break_on_hyphens=False)
    return [guarded(line) for line in lines]


def guarded(line: str) -> str:
    """A line of text that is not taken for a request: those begin with a dot or an apostrophe."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _escaped(text: str, table: dict[str, str]) -> str:
    return "".join(table.get(each) or (each if each.isascii() else f"\\[u{ord(each):04X}]") for each in text)
