"""What is looked for: the words of `find`, or the likeliest mail of a pasted text. Raises ValueError, HistoryError."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.asking.pasted import is_pasted, queries_of
from forkpolicy.history.mail_log.joining import decisions_of
from forkpolicy.history.query import query_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forkpolicy.history.asking.pasted import Likely
    from forkpolicy.history.mail_log.mails import MailLog
    from forkpolicy.history.place import Reader
    from forkpolicy.history.query import Query
    from forkpolicy.history.search import Found

_MOST_NAMED_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked for. `words` find the same again; `in_vain`: words of a text that found nothing before, the
    likeliest first. `is_text`: whether it was a pasted text. `found` is read once.
    """

    query: Query
    words: Sequence[str]
    found: Iterator[Found]
    is_text: bool = False
    in_vain: Sequence[Sequence[str]] = field(default_factory=list)


class _Hit(NamedTuple):
    """A query that finds something."""

    likely: Likely
    query: Query
    first: Found
    rest: Iterator[Found]


def look_for_words(
    history: Reader, log: MailLog | None, words: Sequence[str], most: int, now_s: float, report: Callable[[str], object]
) -> Looked:
    """Decisions that all words find, the newest first, at most so many. Why the log cannot be read is reported."""
    query = query_of(words, now_s)
    if query.queues:
        return Looked(query, words, islice(decisions_of(history, log, query, now_s, report), most))
    return Looked(query, words, history.find(query, most))


def look_for_text(
    history: Reader, log: MailLog | None, text: str, now_s: float, report: Callable[[str], object]
) -> Looked:
    """Decisions about the mail of a text. Why the log cannot be read is reported."""
    in_vain: list[list[str]] = []
    for group in queries_of(text, now_s):
        hits = [hit for likely in group if (hit := _hit(history, log, likely, now_s, report))]
        if hits:
            hit = max(hits, key=lambda each: each.first.at_ms)
            return Looked(hit.query, hit.likely.words, _of_one_mail(history, hit, now_s), True, in_vain)
        in_vain += [likely.words for likely in group]
    return Looked(query_of([], now_s), [], iter(()), True, in_vain)


def pasted_text(words: Sequence[str]) -> str:
    """The text that stands in one word; empty where these are words. Raises ValueError where other words stand next to
    it.
    """
    text = next((word for word in words if word == "-" or is_pasted(word)), "")
    if text and len(words) > 1:
        what = "- (standard input)" if text == "-" else f'"{text[:_MOST_NAMED_CHARS]}"'
        raise ValueError(f"{what} is a pasted text: it must be the only argument (~TEXT searches whole lines)")
    return text


def _hit(
    history: Reader, log: MailLog | None, likely: Likely, now_s: float, report: Callable[[str], object]
) -> _Hit | None:
    try:
        query = query_of(likely.words, now_s)
    except ValueError:
        # What stands in a bounce may look like an address and not be one.
        return None
    found = decisions_of(history, log, query, now_s, report)
    first = next(found, None)
    return _Hit(likely, query, first, found) if first else None


def _of_one_mail(history: Reader, hit: _Hit, now_s: float) -> Iterator[Found]:
    """What was found, and then what may be other attempts of the same mail."""
    seen = set()
    for each in chain([hit.first], hit.rest):
        seen.add(each.id)
        yield each
    if hit.likely.more:
        for each in history.find(query_of(hit.likely.more, now_s)):
            if each.id not in seen:
                yield replace(each, is_sure=False)
