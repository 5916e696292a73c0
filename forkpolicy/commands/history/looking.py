"""What is looked for: the words of `find`, or a text in quotes or on standard input.

What was searched for a text is printed on standard error, as words that find it again. Raises ValueError, HistoryError.
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.history.clean import clean
from forkpolicy.history.asking import looking
from forkpolicy.history.asking.pasted import MOST_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.history.mail_log.mails import MailLog
    from forkpolicy.history.place import Reader
    from forkpolicy.history.query import Query
    from forkpolicy.history.search import Found

# Queries that found nothing: the likeliest ones say what a text was taken for.
_MOST_SHOWN: Final = 3


def look(
    history: Reader, log: MailLog | None, words: list[str], most: int, now_s: float
) -> tuple[Query, Iterator[Found]]:
    """The query, and the decisions that it finds, at most so many."""
    if not (text := pasted_text(words)):
        looked = looking.look_for_words(history, log, words, most, now_s, _say)
        return looked.query, looked.found
    looked = looking.look_for_text(history, log, text, now_s, _say)
    if looked.words:
        _say(f"searched: {_shown(looked.words)}")
    else:
        for each in looked.in_vain[:_MOST_SHOWN]:
            _say(f"searched: {_shown(each)}: nothing")
        if len(looked.in_vain) > _MOST_SHOWN:
            others = len(looked.in_vain) - _MOST_SHOWN
            _say(f"searched: {others} other combinations of what stands in the text: nothing")
    return looked.query, islice(looked.found, most)


def pasted_text(words: list[str]) -> str:
    """The text that stands in one word, or on standard input; empty where these are words.
    Raises ValueError where other words stand next to it.
    """
    if words == ["-"]:
        return sys.stdin.buffer.read(MOST_CHARS).decode("utf-8", "surrogateescape") or "\n"
    return looking.pasted_text(words)


def _shown(words: Sequence[str]) -> str:
    return " ".join(f"'{word}'" if any(map(str.isspace, word)) else word for word in words)


def _say(text: str) -> None:
    print(clean(text), file=sys.stderr)
