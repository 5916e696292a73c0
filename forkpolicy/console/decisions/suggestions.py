"""What may come next while somebody types into the search line: names of words, addresses and domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.scope import history_of
from forkpolicy.console.page import Page
from forkpolicy.history.asking.words import words_in
from forkpolicy.history.query import ADDRESS_COLUMNS, NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.console.visit import Visit

_MOST: Final = 8
# With fewer characters, nearly everything begins so.
_LEAST_CHARS: Final = 2
_MOST_CHARS: Final = 200
_NAMES: Final = ("to:", "from:", "client:", "login:", "action:", "rule:", "queue:", "since:", "until:")


def suggest(visit: Visit) -> Page:
    """Lines that begin as the one that is typed: a part of a page."""
    line = visit.query.get("q", "")
    *words, last = words_in(line) or [""]
    lines: list[list[str]] = []
    if last and not line[-1].isspace() and len(last) <= _MOST_CHARS:
        with visit.noting("the history"):
            lines = [[*words, each] for each in _ends(visit, last)]
    return Page("decisions-words", "Suggestions", data={"lines": lines[:_MOST]}, fragment=True)


def _ends(visit: Visit, word: str) -> Iterator[str]:
    """Words that begin so. Raises HistoryError."""
    yield from (each for each in _NAMES if each.startswith(word.lower()) and each != word.lower())
    name, colon, text = word.rpartition(":")
    if colon and NAMES.get(name.lower()) not in ADDRESS_COLUMNS:
        return
    whole = text.removeprefix("@")
    if len(whole) < _LEAST_CHARS:
        return
    for each in history_of(visit).beginnings(whole, _MOST):
        is_domain = "@" not in each and text != each
        yield f"{name}{colon}{'@' if colon and (is_domain or text.startswith('@')) else ''}{each}"
