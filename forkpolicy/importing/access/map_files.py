"""The maps that `check_*_access` names, as entries with their places. Raises UncarriedError for a map that stays.

Indexed maps (hash, btree, lmdb, cdb, texthash, inline ...) are read from the text that postmap(1) makes them of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.errors import ConfigError
from forkpolicy.importing.access.logical_lines import logical_lines, one_line, shown
from forkpolicy.importing.source import SourceFile, read_source
from forkpolicy.postfix.lists import split_list
from forkpolicy.postfix.maps import parser_of, split_map

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.files import Files
    from forkpolicy.importing.access.main_cf import MainCf
    from forkpolicy.importing.left_out import Origin

INDEXED: Final = ("hash", "btree", "lmdb", "cdb", "dbm", "sdbm", "texthash", "inline")
ORDERED: Final = ("cidr", "regexp", "pcre")
# What a duplicate does: each of them makes its own sense of one text.
_KEEP_FIRST, _KEEP_LAST = "first", "last"


class UncarriedError(ValueError):
    """Why a map stays in main.cf."""


class Line(NamedTuple):
    """One logical line of a map."""

    text: str
    origin: Origin
    comments: tuple[str, ...] = ()


class Entry(NamedTuple):
    """One entry of an indexed map."""

    key: str
    result: str
    origin: Origin
    comments: tuple[str, ...] = ()


class MapFile(NamedTuple):
    """A map as main.cf names it: its type, its name (a path, or `{ ... }`), and the logical lines of its text."""

    word: str
    kind: str
    name: str
    lines: tuple[Line, ...]


def read_map(word: str, main: MainCf, files: Files, origin: Origin) -> MapFile:
    """The map that a word of main.cf names; `static:` has no lines. Raises UncarriedError."""
    kind, name = split_map(word) if ":" in word else (main.value("default_database_type"), word)
    if kind == "static":
        return MapFile(word, kind, name, ())
    if kind not in (*INDEXED, *ORDERED):
        raise UncarriedError(f"{kind}: is not a map whose entries stand in a text")
    if name.startswith("{") or kind == "inline":
        return MapFile(word, kind, name, tuple(_of_braces(name, kind, origin)))
    try:
        source = read_source(main.path(name), files)
    except ConfigError as error:
        made = f" (postmap -s {kind}:{name} shows what it has)" if kind != "texthash" and kind in INDEXED else ""
        raise UncarriedError(f"{error.diagnostics[0].message.rstrip(':')}: {main.path(name)}{made}") from error
    return MapFile(word, kind, name, tuple(_of_file(source)))


def entries_of(map_file: MapFile) -> tuple[list[Entry], list[str]]:
    """The entries of an indexed map that count, with keys folded, and what to know. Raises UncarriedError."""
    parse = parser_of("inline:" if map_file.kind == "inline" else "texthash:")
    keeps = _KEEP_LAST if map_file.kind == "inline" else _KEEP_FIRST
    found: dict[str, Entry] = {}
    without: list[str] = []
    doubled: list[str] = []
    for line in map_file.lines:
        try:
            key, result = parse(line.text)
        except ValueError as error:
            raise UncarriedError(f"{line.origin}: {error}") from error
        key = key.lower()
        if not key or not result.strip():
            without.append(str(line.origin))
            continue
        if key in found:
            doubled.append(f"{key} ({line.origin})")
            if map_file.kind == "texthash":
                raise UncarriedError(f"{key} stands in it twice ({line.origin}), and Postfix refuses the whole map")
            if keeps == _KEEP_FIRST:
                continue
        found[key] = Entry(key, one_line(result), line.origin, line.comments)
    notes = [f"without a result, ignored by Postfix: {shown(without)}"] if without else []
    notes += [f"twice in one map, the {keeps} counts: {shown(doubled)}"] if doubled else []
    return list(found.values()), notes


def _of_file(source: SourceFile) -> Iterator[Line]:
    for line in logical_lines(source):
        yield Line(one_line(line.text), line.origin, line.comments)


def _of_braces(name: str, kind: str, origin: Origin) -> Iterator[Line]:
    """`{ {key=value} key=value }` of inline:, `{ {pattern action} }` of the others."""
    for word in split_list(_without_braces(name)):
        text = word if kind == "inline" and not word.startswith("{") else _without_braces(word)
        if text and not text.startswith("#"):
            yield Line(one_line(text), origin)


def _without_braces(text: str) -> str:
    text = text.strip()
    if len(text) < 2 or text[0] != "{" or text[-1] != "}":
        raise UncarriedError(f'expected {{ ... }}, found "{one_line(text)[:60]}"')
    return text[1:-1].strip()


def static_result(map_file: MapFile) -> str:
    """The one result of `static:RESULT` or `static:{ RESULT }`."""
    name = map_file.name.strip()
    return one_line(name[1:-1]) if name.startswith("{") and name.endswith("}") else name


def members(text: str) -> list[str]:
    """The words of a parameter that is a list."""
    return split_list(text)
