"""What the search line asks: words of `history find`, or a text that was pasted into it.

Raises UserMistake where it is neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import UserMistake
from forkpolicy.history.asking.looking import look_for_text, look_for_words
from forkpolicy.history.asking.pasted import is_pasted
from forkpolicy.history.asking.words import words_in
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.query import Query, query_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkpolicy.history.asking.looking import Looked
    from forkpolicy.history.mail_log.mails import MailLog
    from forkpolicy.history.place import Reader
    from forkpolicy.history.search import Found

# A page waits so long for a search that no index helps.
PATIENCE_S: Final = 3.0
# Of one mail: all attempts of five days.
_MOST_OF_MAIL: Final = 200


@dataclass(slots=True)
class Asked:
    """What was found. `words` find it again; `is_text`: they were made of a pasted text, and `in_vain` are those that
    found nothing before. `more`: whether there are more behind the last one of `found`. `problems`: what could not be
    read.
    """

    words: list[str]
    query: Query
    found: list[Found]
    more: bool = False
    is_text: bool = False
    in_vain: list[list[str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def ask(
    history: Reader, log: MailLog | None, line: str, most: int, now_s: float, *, before: str = "", sees_all: bool
) -> Asked:
    """Ask it, for so many decisions behind a cursor. `sees_all`: whether what lines say of the server may be searched,
    too.
    """
    words = words_in(line)
    try:
        query = None if len(words) == 1 and is_pasted(words[0]) else query_of(words, now_s)
    except ValueError as error:
        if not is_pasted(line) or before:
            raise UserMistake(str(error), "q") from error
        query = None
    if query is None:
        return ask_for_text(history, log, line, now_s)
    if (query.texts or query.rules or query.hosts) and not sees_all:
        raise UserMistake(
            "~TEXT, rule: and host: search what only operators see: use to:, from:, client: or action:", "q"
        )
    query = replace(query, before=before, give_up_s=monotonic() + PATIENCE_S)
    if query.queues:
        problems: list[str] = []
        looked = look_for_words(history, log, words, _MOST_OF_MAIL, now_s, problems.append)
        asked = _read(looked, _MOST_OF_MAIL)
        asked.problems += problems
        return asked
    found, problem = taken(history.find(query, most + 1))
    return Asked(words, query, found[:most], len(found) > most, problems=problem)


def ask_for_text(history: Reader, log: MailLog | None, text: str, now_s: float) -> Asked:
    """Ask about the mail of a pasted text."""
    problems: list[str] = []
    try:
        looked = look_for_text(history, log, text, now_s, problems.append)
    except ValueError as error:
        raise UserMistake(f"{error}; expected words such as to:anna@example.com", "q") from error
    asked = _read(looked, _MOST_OF_MAIL)
    asked.problems += problems
    return asked


def _read(looked: Looked, most: int) -> Asked:
    found, problems = taken(each for each, _ in zip(looked.found, range(most), strict=False))
    return Asked([*looked.words], looked.query, found, False, looked.is_text, _lists(looked.in_vain), problems)


def taken(found: Iterable[Found]) -> tuple[list[Found], list[str]]:
    """What is found until something cannot be read; and why it cannot."""
    every: list[Found] = []
    try:
        every.extend(found)
    except HistoryError as error:
        return every, str(error).splitlines()
    return every, []


def _lists(every: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[*each] for each in every]
