"""The words of SQL in a dump: MySQL's, PostgreSQL's and SQLite's. Linear in the length of the text, whatever it is.

Raises DumpError, with the place, for a quote or a comment that does not end: everything behind it might be part of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# In MySQL's strings a backslash escapes, in standard ones it is itself; E'...' of PostgreSQL is as MySQL's.
_BACKSLASHED: Final = r"'(?:[^'\\]++|''|\\.)*+'"
_STANDARD: Final = r"'(?:[^']++|'')*+'"
_ESCAPED: Final = re.compile(r"''|\\(.)", re.DOTALL)
_LETTERS: Final = {"0": "\0", "n": "\n", "r": "\r", "t": "\t", "b": "\b", "Z": "\x1a", "f": "\f"}
# Begins of dumps whose strings are standard.
_OF_STANDARD: Final = re.compile(
    r"PostgreSQL database dump|standard_conforming_strings|^COPY\s+\S+\s*\(|^PRAGMA\s|^BEGIN TRANSACTION;",
    re.IGNORECASE | re.MULTILINE,
)


class DumpError(Exception):
    """The text is no SQL from here on. `at`: the character."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at, self.reason = at, reason


class Token(NamedTuple):
    """`kind`: word, name (quoted), text, number, mark. `at`: its character; `end`: behind it."""

    kind: str
    value: str
    at: int
    end: int


class Words:
    """The words of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        string = _STANDARD if _OF_STANDARD.search(text[:65536]) else _BACKSLASHED
        self._backslashes = string is _BACKSLASHED
        skipped = r"\s++|--[^\n]*+|\#[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/"
        self._token = re.compile(
            rf"""(?P<skip>(?:{skipped})++)
            |(?P<escaped>[eE]{_BACKSLASHED})
            |(?P<hex>[xX]'[0-9A-Fa-f]*+'|0x[0-9A-Fa-f]++)
            |(?P<text>(?:[nN]|_[A-Za-z0-9]++\s*+)?{string})
            |(?P<double>"(?:[^"\\]++|""|\\.)*+")
            |(?P<back>`(?:[^`]++|``)*+`)
            |(?P<word>[^\W\d][\w$]*+)
            |(?P<number>[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?)
            |(?P<mark>.)""",
            re.VERBOSE | re.DOTALL,
        )
        # What ends at the next semicolon that is in no quote.
        self._rest = re.compile(
            rf"""(?:[^;'"`/\#-]++|{string}|"(?:[^"]++|"")*+"|`[^`]*+`|{skipped}|[-/\#])*+;?""", re.DOTALL
        )

    def tokens(self, at: int) -> Iterator[Token]:
        """From a character on. Raises DumpError."""
        match = self._token.match
        while found := match(self.text, at):
            begin, at = at, found.end()
            kind, value = found.lastgroup, found[0]
            if kind == "skip":
                continue
            if kind == "mark" and value in "'\"`":
                raise DumpError(begin, f"a quote {value} that does not end")
            if kind == "mark" and value == "/" and self.text.startswith("/*", begin):
                raise DumpError(begin, "a comment that does not end")
            yield self._made(kind or "", value, begin, at)

    def end_of_statement(self, at: int) -> int:
        """Behind the semicolon of the statement in which this character is. Raises DumpError."""
        found = self._rest.match(self.text, at)
        end = found.end() if found else at
        if end < len(self.text) and self.text[end - 1 : end] != ";":
            raise DumpError(end, "a quote or a comment that does not end")
        return end

    def _made(self, kind: str, value: str, begin: int, end: int) -> Token:
        match kind:
            case "text":
                inner = value[value.index("'") + 1 : -1]
                return Token("text", _unescaped(inner) if self._backslashes else inner.replace("''", "'"), begin, end)
            case "escaped":
                return Token("text", _unescaped(value[2:-1]), begin, end)
            case "hex":
                digits = value.strip("xX'").removeprefix("0x")
                return Token("text", _from_hex(digits), begin, end)
            case "double":
                inner = value[1:-1].replace('""', '"')
                return Token("double", _unescaped(inner) if self._backslashes else inner, begin, end)
            case "back":
                return Token("name", value[1:-1].replace("``", "`"), begin, end)
        return Token(kind, value, begin, end)


def _unescaped(text: str) -> str:
    if "\\" not in text and "''" not in text:
        return text
    return _ESCAPED.sub(lambda found: _LETTERS.get(found[1], found[1]) if found[1] else "'", text)


def _from_hex(digits: str) -> str:
    """Bytes of a column as text; they are most often one."""
    if len(digits) % 2:
        return f"0x{digits}"
    return bytes.fromhex(digits).decode("utf-8", "replace")


def text_of_bytea(text: str) -> str:
    r"""What PostgreSQL shows of bytes (`\x616263`) as text; any other text as it is."""
    if text.startswith("\\x") and re.fullmatch(r"(?:[0-9a-fA-F]{2})*", text[2:]):
        return _from_hex(text[2:])
    return text
