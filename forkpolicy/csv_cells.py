"""Texts of strangers as cells of CSV that a spreadsheet takes for texts, not for formulas.

Where a comma is part of numbers (a German Excel), a spreadsheet ends cells at `;` and not at the comma, whatever quotes
there are: so a formula may begin behind each of them.
"""

from __future__ import annotations

import re
from typing import Final

# The wide forms of a Japanese keyboard begin one, too.
_BEGINS: Final = re.compile(r"(^|[;\t\r\n])(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")


def without_formulas(text: str) -> str:
    """A text with `'` in front of what would begin a formula."""
    return _BEGINS.sub(r"\1'", text)
