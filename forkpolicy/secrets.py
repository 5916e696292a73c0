"""The one place that masks passwords in what people can read: messages, logs, reports.

`masked` takes any text. A password stands in a URL, as in `sql:` sources and in addresses of servers, or in one of its
options, and a key in front of a paid DNS list; everything else is left as it is. Where it is not clear how much is the
password, more is masked and not less. Called by every `Diagnostic` and error, and by the log for every event.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK: Final = "***"
# For a text that must still be read as what it was: the key of a DNS list is a label, a password any word.
READABLE_MASK: Final = "masked"

# Expressions as texts: `re` compiles, and keeps, one when a text first needs it, and most processes mask nothing.
_PROVIDER: Final = r"(?:dq\.spamhaus\.net|mail\.abusix\.zone)"
# The key stands in front of the name of a list; where that is missing, it is longer than names of lists are.
_KEYED_ZONE: Final = (
    rf"(?ai)(?<![\w-])([\w-]+)(?=\.[\w-]+\.{_PROVIDER}(?![\w-]))|(?<![\w.-])([\w-]{{16,}})(?=\.{_PROVIDER}(?![\w-]))"
)
_IN_FRONT: Final = rf"(?ai)(?:(.+)\.([\w-]+\.{_PROVIDER}))|(?:([\w-]{{16,}})\.({_PROVIDER}))"
_PAYING: Final = ("spamhaus", "abusix")

# `//user:`, of which the user may have an `@`; not the slashes of `sqlite:///file`.
_USER: Final = r"(?<!/)//(?!/)[^:/\s]*:"
_WORD: Final = re.compile(r"\S+")
_PORT: Final = r"\d{1,5}(?![^/?:,.;)\"'])"
# A user without a password in a URL of the web is most often a token.
_LONE_USER: Final = r"(?i)https?://([^/:@?\s]+)@"
# The options in which databases and their drivers, and servers of lists, take secrets.
_OPTION: Final = (
    r"(?i)[?&](?:[^=&\s]*(?:pass(?!file)|pwd|secret|token|odbc_connect)[^=&\s]*"
    r"|(?:(?:api|access|account|auth|customer|licen[cs]e)[_-]?)?key|signature)=([^&\s]*)"
)


def masked(text: str, mask: str = MASK) -> str:
    """The text without its passwords."""
    return masked_at(text, 0, mask)[0]


def masked_lines(text: str) -> str:
    """A whole file without its passwords, which can be read as what it was. No password goes over the end of a line."""
    return "".join([masked(line, READABLE_MASK) for line in text.splitlines(keepends=True)])


def masked_at(text: str, at: int, mask: str = MASK) -> tuple[str, int]:
    """The same, and where a place of the text is in it."""
    if "//" not in text and not _may_have_key(text):
        return text, at
    parts, done, moved = [], 0, at
    for begin, end in sorted(_spans(text)):
        if begin < done:
            continue
        parts += [text[done:begin], mask]
        done = end
        if at >= end:
            moved += len(mask) - (end - begin)
        elif at > begin:
            moved = moved - (at - begin)
    return "".join([*parts, text[done:]]), moved


def split_key(zone: str) -> tuple[str, str]:
    """The key in front of the domain of a paid DNS list, and the rest; without a key it is empty."""
    found = re.fullmatch(_IN_FRONT, zone)
    if not found:
        return "", zone
    return (found[1], found[2]) if found[1] else (found[3], found[4])


def _may_have_key(text: str) -> bool:
    folded = text.lower()
    return any(each in folded for each in _PAYING)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for key in re.finditer(_KEYED_ZONE, text):
        yield key.span()
    for user in re.finditer(_USER, text):
        word = _WORD.match(text, user.end())
        if word and not word[0].startswith(MASK):
            yield from _password(text, word)
    for secret in (*re.finditer(_LONE_USER, text), *re.finditer(_OPTION, text)):
        if secret[1]:
            yield secret.span(1)


def _password(text: str, word: re.Match[str]) -> Iterator[tuple[int, int]]:
    """What stands behind `//user:`: a password up to an `@`, a port, or a password that a mistake has cut."""
    begin, last = word.start(), word[0].rfind("@")
    if last >= 0:
        yield begin, begin + last
    elif not re.match(_PORT, word[0]):
        # With a blank in it the host comes later.
        later = text.find("@", word.end())
        yield begin, later if later >= 0 else word.end()
