"""What a table can be compiled from, and which words of a policy name which source.

A source is either text, read a block of lines at a time, or rows that some program lists. `open_source` turns one word
of a `table` statement into one of them; what cannot be opened is a ConfigError at the place of that word.
"""

from __future__ import annotations

import io
import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from forkpolicy.compile.feed_urls import check_url, refuse_plain
from forkpolicy.compile.sources import csvfile, interfaces, ldapsearch, lmdbmap, mmdb, postconf, sql
from forkpolicy.compile.sources.csvfile import CsvSource
from forkpolicy.errors import ConfigError, Diagnostic, nearest
from forkpolicy.postfix import maps
from forkpolicy.regular_files import read_of_others
from forkpolicy.secrets import masked
from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.compile.feeds import FeedFiles
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.tables.rows import Row, RowSource

STDIN: Final = "-"

# 2 MiB are some 100,000 lines: enough that handing a block to a child costs nothing, little enough that several
# children together stay far below a gigabyte.
BLOCK_BYTES: Final = 2 << 20

# Of a list that people edit in the console.
MAX_BYTES_OF_OTHERS: Final = 64 << 20

_BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
# `[2001:db8::]/32` and `{name}` are entries; what JSON has behind its first bracket is none.
_JSON: Final = re.compile(rb"\s*(\{\s*[\"}]|\[\s*[\[{\"\]])")


class Block(NamedTuple):
    """Whole lines of a text source, with newlines as line ends; `whole`: there is no other block."""

    text: bytes
    first_line: int
    whole: bool


@dataclass(frozen=True, slots=True)
class TextSource:
    """A file, standard input, or what has a `url`: that has no path before it was `fetched`. `of_others`: the console's
    user writes it, who may be an attacker.
    """

    name: str
    path: str
    url: str = ""
    of_others: bool = False

    @property
    def size_bytes(self) -> int:
        """How much there is to read; 0 where that is not known. Raises OSError."""
        return 0 if self.path == STDIN or self.of_others else Path(self.path).stat().st_size

    def blocks(self) -> Iterator[Block]:
        """The text in blocks. Raises OSError, and ConfigError for what is not text in UTF-8 at all."""
        if self.path == STDIN:
            if sys.stdin is None:
                raise ValueError("standard input is closed")
            yield from _blocks(sys.stdin.buffer, self.name)
            return
        if self.of_others:
            yield from _blocks(io.BytesIO(_read_of_others(self.path)), self.name)
            return
        with Path(self.path).open("rb") as stream:
            yield from _blocks(stream, self.name)


_ROW_SOURCES: Final[dict[str, Callable[[str, Path], RowSource]]] = {
    "csv": csvfile.open_source,
    "interfaces": interfaces.open_source,
    "ldap": ldapsearch.open_source,
    "lmdb": lmdbmap.open_source,
    "mmdb": mmdb.open_source,
    "postconf": postconf.open_source,
    "sql": sql.open_source,
}


def placed_rows(source: RowSource) -> Iterator[tuple[str, Row]]:
    """The rows of a source, each with the name of what it stands in: a parameter of Postfix leads to files and maps."""
    if isinstance(source, postconf.PostconfSource):
        return source.placed_rows()
    return ((source.name, row) for row in source.rows())


def is_of_kernel(word: str) -> bool:
    """Whether a source is this machine's interfaces, which come and go."""
    return word.startswith("interfaces:")


def is_of_postfix(word: str) -> bool:
    """Whether a source is a parameter of Postfix, which may be empty: that is what Postfix matches with it."""
    return word.startswith("postconf:")


def open_source(declaration: TableDeclaration, index: int) -> TextSource | RowSource:
    """The source that one word of a declaration names. Raises ConfigError at that word."""
    word = declaration.sources[index]
    base = Path(declaration.path).absolute().parent
    prefix, colon, argument = word.partition(":")
    try:
        refuse_plain(word)
        if colon and prefix == "https":
            return TextSource(masked(word), "", check_url(word))
        if colon and prefix in _ROW_SOURCES:
            return _for_kind(_ROW_SOURCES[prefix](argument, base), declaration.kind)
        if colon and not (base / word).exists():
            _refuse_what_is_not_a_path(word, prefix)
    except ValueError as error:
        raise ConfigError([diagnostic_at(declaration, index, str(error))]) from error
    if word == STDIN:
        return TextSource("standard input", STDIN)
    path = str(base / word)
    return TextSource(path, path, of_others=_is_of_others(path, declaration.others_below))


def _is_of_others(path: str, directory: str) -> bool:
    """Whether a file is below the directory of another user, by its name or where the administrator's links lead."""
    head = Path(path).parent
    return bool(directory) and (
        Path(os.path.normpath(head)).is_relative_to(os.path.normpath(directory))
        or Path(os.path.realpath(head)).is_relative_to(os.path.realpath(directory))
    )


def _read_of_others(path: str) -> bytes:
    """Raises ValueError with all of the reason, OSError."""
    try:
        return read_of_others(path, MAX_BYTES_OF_OTHERS)
    except ValueError as error:
        raise ValueError(f"it {error}") from error


def fetched(source: TextSource | RowSource, feeds: FeedFiles) -> TextSource | RowSource:
    """The source with a path to read from, if it is one by HTTPS. Raises ValueError, CannotWriteError."""
    if isinstance(source, TextSource | CsvSource) and source.url:
        return replace(source, path=str(feeds.path_of(source.url)))
    return source


def _for_kind(source: RowSource, kind: str) -> RowSource:
    """The source for a table of that kind. Raises ValueError."""
    columns = max(1, len(KINDS[kind].columns))
    if isinstance(source, csvfile.CsvSource | ldapsearch.LdapSource | sql.SqlSource):
        return source.with_columns(columns)
    if columns > 1:
        raise ValueError(
            f"it lists single keys, and the table has {columns} columns: expected a file, csv:, ldap: or sql:"
        )
    if isinstance(source, mmdb.MmdbSource) and not KINDS[kind].stores_ranges:
        fitting = " or ".join(name for name, each in KINDS.items() if each.stores_ranges)
        raise ValueError(f"its keys are networks, and the table is of kind {kind}: expected {fitting}")
    return replace(source, kind=KINDS[kind]) if isinstance(source, postconf.PostconfSource) else source


def _refuse_what_is_not_a_path(word: str, prefix: str) -> None:
    """No file has this name, and it looks like a map of Postfix or a mistyped kind of source. Raises ValueError."""
    maps.refuse_map(word)
    near = nearest(prefix, (*_ROW_SOURCES, "https"))
    if near:
        raise ValueError(f'there is no such file; did you mean "{near}:{"//" * (near == "https")}"?')


def with_whole_queries(declaration: TableDeclaration) -> TableDeclaration:
    """The declaration with the words of a query as one: `sql:` takes the rest of its statement."""
    at = next((at for at, word in enumerate(declaration.sources) if word.startswith("sql:")), None)
    if at is None:
        return declaration
    sources = (*declaration.sources[:at], declaration.rests[at])
    return declaration._replace(sources=sources, source_columns=declaration.source_columns[: at + 1])


def diagnostic_at(declaration: TableDeclaration, index: int, message: str, hint: str = "") -> Diagnostic:
    """A diagnostic at the word of a policy that names a source."""
    word = declaration.sources[index]
    column = declaration.source_columns[index] if index < len(declaration.source_columns) else 0
    text = f"{' '.join(sql.without_password(word).split())}: {message}"
    return Diagnostic(declaration.path, declaration.line, column, text, "", len(word), hint)


def _blocks(stream: IO[bytes], name: str) -> Iterator[Block]:
    first_line, rest, is_first, at_end = 1, b"", True, False
    while not at_end:
        data = stream.read(BLOCK_BYTES)
        # The stream is buffered: less than asked for is the rest.
        at_end = len(data) < BLOCK_BYTES
        rest += data
        if is_first:
            _refuse_other_formats(rest, name)
            rest = rest.removeprefix(_BOM)
        cut = len(rest) if at_end else _safe_cut(rest)
        if not cut:
            continue
        text, rest = _with_newlines(rest[:cut]), rest[cut:]
        yield Block(text, first_line, is_first and at_end)
        is_first = False
        first_line += text.count(b"\n")


def _refuse_other_formats(data: bytes, name: str) -> None:
    """What would be one mistake a line. Raises ConfigError, which --skip-bad does not skip."""
    if data.startswith(_UTF16_BOMS):
        raise ConfigError([Diagnostic(name, 1, 0, "this is UTF-16: save the file as UTF-8")])
    if _JSON.match(data.removeprefix(_BOM)):
        hint = "jq -r '.[]' writes the texts of a list so"
        raise ConfigError([Diagnostic(name, 1, 0, "this is JSON: a source has one entry a line", hint=hint)])


def _safe_cut(data: bytes) -> int:
    """Before the last line that begins an entry: an indented one belongs to the one above, comments between or not."""
    at = data.rfind(b"\n", 0, len(data) - 1)
    while at > len(data) // 2 and data[at + 1] in b" \t#;\r\n":
        at = data.rfind(b"\n", 0, at)
    # A file whose lines are all indented has no better place to cut at than any.
    is_found = at < 0 or data[at + 1] not in b" \t#;\r\n"
    return (at if is_found else data.rfind(b"\n")) + 1


def _with_newlines(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text
