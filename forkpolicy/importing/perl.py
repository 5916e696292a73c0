r"""Perl's regular expressions as values of ours. Pure but for RE2. Raises ValueError with the reason where we have no
equal.

Perl's programs in this package (postgrey, postfwd, policyd version 2) compare bytes and take their expressions from
files and databases: what Perl does only to expressions in a program (`\Q`, `\u`) they cannot have.
"""

from __future__ import annotations

import re

from forkpolicy.importing.expressions import regex_value

_OF_PROGRAMS = re.compile(r"(?<!\\)(?:\\\\)*\\[QEULulvhHNRXCzGK]")


def perl_value(pattern: str, *, folds: bool = True) -> str:
    """The value for an expression that is searched for. Raises ValueError."""
    if not pattern:
        raise ValueError("an empty expression, which is the previous one to Perl")
    if not pattern.isascii():
        raise ValueError("Perl compares bytes where ours compares characters")
    if found := _OF_PROGRAMS.search(pattern):
        raise ValueError(f"{found[0][-2:]} means something else in Perl")
    return regex_value(pattern, folds=folds)
