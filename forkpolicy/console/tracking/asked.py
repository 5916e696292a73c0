"""What was typed into the page: words, a queue id, or a pasted line or bounce; and the mails that it is about.

Raises UserMistake for what is not understood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import UserMistake
from forkpolicy.history.asking.pasted import is_pasted, queries_of
from forkpolicy.history.asking.words import name_of, words_in
from forkpolicy.history.query import is_queue_id, query_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.console.tracking.gathering import Gathered
    from forkpolicy.history.query import Query

    Ask = Callable[[Query], Gathered]

# What a text may be about, tried one after the other.
_MOST_LIKELY: Final = 12
# Words that say by themselves when it was.
_OF_ONE_MAIL: Final = frozenset({"queue", "id", "since", "until"})


@dataclass(slots=True)
class Asked:
    """`words` find the same again; none: nothing was asked. `is_text`: it was pasted."""

    words: list[str]
    query: Query
    found: Gathered
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Typed:
    """The fields of the form. `line`: words, a queue id, or a text; `since`: how far back, where it does not say."""

    to: str = ""
    sender: str = ""
    line: str = ""
    since: str = "3d"


def ask(typed: Typed, ask_all: Ask, now_s: float) -> Asked:
    """Ask all sources."""
    if is_pasted(typed.line):
        return _ask_for_text(typed.line, ask_all, now_s)
    words = [_word(each) for each in words_in(typed.line)]
    words += [f"to:{typed.to}"] if typed.to else []
    words += [f"from:{typed.sender}"] if typed.sender else []
    timed = words if any(name_of(each) in _OF_ONE_MAIL for each in words) else [*words, f"since:{typed.since}"]
    query = _query(timed, now_s)
    return Asked(words, query, ask_all(query))


def _word(word: str) -> str:
    return f"queue:{word}" if is_queue_id(word) else word


def _query(words: Sequence[str], now_s: float) -> Query:
    try:
        return query_of(words, now_s)
    except ValueError as error:
        raise UserMistake(str(error), "q") from error


def _ask_for_text(text: str, ask_all: Ask, now_s: float) -> Asked:
    """The likeliest that any source knows something about, or else the last that was tried."""
    asked = None
    for words in _likely(text, now_s):
        try:
            query = query_of(words, now_s)
        except ValueError:
            # What stands in a bounce may look like an address and not be one.
            continue
        asked = Asked(words, query, ask_all(query), is_text=True)
        if asked.found.mails():
            return asked
    if asked is None:
        raise UserMistake("the text has no address, no queue id and no id of a decision", "q")
    return asked


def _likely(text: str, now_s: float) -> list[list[str]]:
    try:
        return [[*each.words] for group in queries_of(text, now_s) for each in group][:_MOST_LIKELY]
    except ValueError as error:
        raise UserMistake(str(error), "q") from error
