"""A line of words as people type it into one field: in words and back, and what each word means. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from forkpolicy.history.query import ADDRESS_COLUMNS, NAMES, query_of
from forkpolicy.tables.keys import ip_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from forkpolicy.history.query import Names, Query

# Quotes count where a value begins: an address may have one in it.
_WORD: Final = re.compile(r"""((?:[a-zA-Z]+:|~)?)(?:"([^"]*)"|'([^']*)')(?=\s|$)|\S+""")
_NAME: Final = re.compile(r"[a-zA-Z]+(?=:)|~")
_NEEDS_QUOTES: Final = re.compile(r"\s|^$")


def words_in(line: str) -> list[str]:
    """Its words: `to:anna  ~"two words"` are two."""
    return [_unquoted(found) for found in _WORD.finditer(line)]


def line_of(words: Iterable[str]) -> str:
    """A line of which `words_in` makes these words again, where they have only one kind of quotes."""
    return " ".join(map(_quoted, words))


def name_of(word: str) -> str:
    """What a word is about, by the name in front of it (`recipient` for `to:`); empty where it says so by its form."""
    found = _NAME.match(word)
    return NAMES.get(found[0].lower(), found[0]) if found else ""


def with_word(words: Sequence[str], word: str) -> list[str]:
    """These words with another one, in place of one that says the same of something else."""
    name = name_of(word)
    return [*(each for each in words if each != word and (not name or name_of(each) != name)), word]


def meaning_of(word: str, now_s: float) -> str:
    """In words. Raises ValueError."""
    return ", ".join(_meanings(query_of([word], now_s)))


def _unquoted(found: re.Match[str]) -> str:
    name, double, single = found.groups()
    return found[0] if name is None else name + (double if double is not None else single)


def _quoted(word: str) -> str:
    found = re.match(r"[a-zA-Z]+:|~", word)
    name = found[0] if found else ""
    value = word[len(name) :]
    if not _NEEDS_QUOTES.search(value) and value[:1] not in ("'", '"'):
        return word
    quote = "'" if '"' in value else '"'
    return f"{name}{quote}{value}{quote}"


def _meanings(query: Query) -> Iterator[str]:
    yield from map(_of_names, query.names)
    for ranges in query.clients:
        yield f"client {' or '.join(_of_range(*each) for each in ranges)}"
    for what, values in (
        ("rule", query.rules),
        ("action", query.verbs),
        ("host", query.hosts),
        ("queue id", query.queues),
        ("decision", query.ids),
        ("its line contains", query.texts),
    ):
        yield from (f"{what} {each}" for each in values)
    if query.since_ms:
        yield f"since {_moment(query.since_ms)}"
    if query.until_ms < 1 << 62:
        yield f"until {_moment(query.until_ms)}"


def _of_names(names: Names) -> str:
    what = "sender, recipient or login" if tuple(names.columns) == ADDRESS_COLUMNS else " or ".join(names.columns)
    if names.domain:
        return f"{what} in the domain {names.domain}"
    if names.beginning:
        return f"{what} begins with {names.beginning}"
    return f"{what} {names.text}" if names.text else f"{what} is the null sender"


def _of_range(first: bytes, last: bytes) -> str:
    return ip_text(first) if first == last else f"{ip_text(first)} to {ip_text(last)}"


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M} UTC"
