"""Maps of Postfix that its lists name: which can be listed, and what they contain.

Indexed ones are listed by postmap(1), texts are parsed as Postfix reads them. `refuse_map` reports what to write
instead of a map that is named as a source. Raises ValueError for what cannot be listed, and for a line that is not in
the map's syntax.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.postfix.lists import split_list
from forkpolicy.tables.rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LISTED_BY_POSTMAP: Final = ("hash", "btree", "lmdb", "cdb", "dbm", "sdbm")
_ASKED_ONLY: Final = {
    "ldap": "a directory",
    "mysql": "a database; use a sql: source instead",
    "pgsql": "a database; use a sql: source instead",
    "sqlite": "a database; use a sql: source instead",
    "mongodb": "a database",
    "memcache": "a cache",
    "regexp": "patterns; write them as /regex/ into an acl",
    "pcre": "patterns; write them as /regex/ into an acl",
    "tcp": "a server",
    "socketmap": "a server",
    "nis": "a server",
    "nisplus": "a server",
    "netinfo": "a server",
    "unix": "the system's user lists",
    "static": "one value for every key",
    "pipemap": "a pipeline of maps",
    "unionmap": "a union of maps",
    "randmap": "a random choice",
    "fail": "a failure",
}

# As Postfix reads a key: up to the first blank that is neither in quotes nor after a backslash.
_KEY: Final = re.compile(r'(?:\\.|"(?:\\.|[^"\\])*"|[^\s"\\])+', re.ASCII)


def split_map(word: str) -> tuple[str, str]:
    """Type and name of a map; `proxy:` only says which process opens it."""
    map_type, _, name = word.removeprefix("proxy:").partition(":")
    return map_type, name


def is_indexed(word: str) -> bool:
    """Whether a map is one that postmap(1) lists."""
    return split_map(word)[0] in _LISTED_BY_POSTMAP


def rows_of_listing(listing: str) -> Iterator[Row]:
    """What `postmap -s` has listed."""
    for text in listing.removesuffix("\n").split("\n"):
        if text:
            key, _, value = text.partition("\t")
            yield Row(key, value or None)


def parser_of(word: str) -> Callable[[str], tuple[str, str]]:
    """What makes key and value of one text of a map. Raises ValueError where it cannot be listed."""
    map_type = split_map(word)[0]
    if map_type not in _PARSERS:
        what = _ASKED_ONLY.get(map_type, "a type of map that forkpolicy does not know")
        raise ValueError(f"{word} cannot be listed: {map_type} is {what}")
    return _PARSERS[map_type]


def texts_of(word: str, place: str, line: int) -> list[tuple[str, int, str]]:
    """The texts of a map's entries, of its file or of its name, each with what it stands in and its line."""
    kind, name = split_map(word)
    if kind != "inline" and not name.startswith("{"):
        return [(name, number, text) for number, text in _logical_lines(name)]
    words = split_list(_without_braces(name))
    texts = [word if kind == "inline" and not word.startswith("{") else _without_braces(word) for word in words]
    return [(place, line, text) for text in texts if text and not text.startswith("#")]


def _without_braces(text: str) -> str:
    if not (text.startswith("{") and text.endswith("}")):
        raise ValueError(f'expected {{ ... }}, found "{text}"')
    return text[1:-1].strip()


def _words(text: str) -> tuple[str, str]:
    """Key and value of a line, the key with its quotes: for Postfix, they are part of it."""
    found = _KEY.match(text)
    end = found.end() if found else 0
    if text[end : end + 1].strip():
        raise ValueError(f"a quote that is not closed, or a backslash at the end: {text}")
    return text[:end], text[end:].strip()


def _rule(text: str) -> tuple[str, str]:
    """The pattern and the action of a line of cidr_table(5)."""
    if re.match(r"(if|endif)\b", text, re.IGNORECASE):
        raise ValueError("if and endif of cidr_table(5) cannot be listed: write the networks that are meant")
    if text.startswith("!"):
        raise ValueError(f"the exclusion {_words(text)[0]} cannot be part of a table: list the networks that are meant")
    return _words(text)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f'expected key=value, found "{text}"')
    return key.strip(), value


def lines_of(path: str) -> list[tuple[int, str]]:
    """The lines of a file that are neither blank nor comments, with their numbers."""
    lines = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip() and line.lstrip()[0] != "#"]


def _logical_lines(path: str) -> list[tuple[int, str]]:
    """The same, with indented lines joined to the one before, as Postfix reads its text maps."""
    lines: list[tuple[int, str]] = []
    for number, line in lines_of(path):
        if line[0].isspace() and lines:
            lines[-1] = (lines[-1][0], f"{lines[-1][1]} {line.strip()}")
        else:
            lines.append((number, line.strip()))
    return lines


_PARSERS: Final[dict[str, Callable[[str], tuple[str, str]]]] = {"texthash": _words, "cidr": _rule, "inline": _pair}


def refuse_map(word: str) -> None:
    """Raise ValueError, with what to write, for a source that is a map of Postfix."""
    kind, name = split_map(word)
    if kind in _ASKED_ONLY:
        raise ValueError(f"a {kind} map of Postfix cannot be listed: it is {_ASKED_ONLY[kind]}")
    if kind in (*_LISTED_BY_POSTMAP, *_PARSERS):
        inline = kind == "inline" or name.startswith("{")
        meant = "write its entries into a text file." if inline else f'did you mean the text file itself, "{name}"?'
        raise ValueError(
            f"a {kind} map of Postfix is not a source: {meant} lmdb:FILE lists what postmap lmdb:FILE wrote, "
            "postconf:PARAMETER the maps that a parameter names"
        )
