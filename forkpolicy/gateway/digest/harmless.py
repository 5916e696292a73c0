r"""A stranger's text as a digest may show it: no program makes a link of what stands in it. Pure.

Programs that show mail make links of URLs, of `www.`, of bare names of hosts, of addresses and of `\\host\share`, in
plain text and in HTML alike. So what joins such words is put into brackets, where people still read it:
`https[:]//example[.]org/`, `news[at]example[.]org`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_MOST_CHARACTERS: Final = 200
# Dots between words, but not that of a number as 3.50. IDNA takes four characters for a dot (RFC 3490, section 3.1).
_DOT: Final = re.compile(r"(?<=[^\s\[.])[.\u3002\uff0e\uff61](?=[^\s\].])")
_NUMBER: Final = re.compile(r"(?<![\w.,])\d+\.\d+(?![\w.])")
_AT: Final = re.compile(r"[@\uff20\ufe6b]")
# A scheme is a letter and more of RFC 3986 section 3.1, and needs something behind its colon.
_SCHEME: Final = re.compile(r"(?<=[A-Za-z0-9+.\]-])[:\uff1a](?=\S)")
_SHARE: Final = re.compile(r"\\{2,}")
_WORD: Final = re.compile(r"\S+")


def harmless(text: str) -> str:
    """The text on one line, without invisible characters and without anything that becomes a link."""
    shown = "".join(each if _is_shown(each) else " " for each in text)
    shown = " ".join(shown.split())
    if len(shown) > _MOST_CHARACTERS:
        shown = f"{shown[: _MOST_CHARACTERS - 1].rstrip()}\u2026"
    return _WORD.sub(lambda found: _harmless_word(found[0]), shown)


def _is_shown(character: str) -> bool:
    # Format characters turn the direction of a text, or are nothing between two letters.
    return character.isprintable() and unicodedata.category(character) not in ("Cf", "Co", "Cn")


def _harmless_word(word: str) -> str:
    """A word without white space in it."""
    numbers = [found.span() for found in _NUMBER.finditer(word)]

    def dot(found: re.Match[str]) -> str:
        return found[0] if any(begin <= found.start() < end for begin, end in numbers) else "[.]"

    # Dots first: what is put in for the others has none, but has brackets.
    word = _DOT.sub(dot, word)
    word = _SCHEME.sub(lambda found: found[0] if _is_time(word, found.start()) else "[:]", word)
    word = _AT.sub("[at]", word)
    return _SHARE.sub(lambda found: " ".join(found[0]), word)


def _is_time(word: str, at: int) -> bool:
    """Whether a colon stands between two digits, as in 10:30."""
    return word[at - 1].isdigit() and word[at + 1].isdigit()
