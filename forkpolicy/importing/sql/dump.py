"""A dump as rows: INSERT and REPLACE with several rows, COPY ... FROM stdin, columns from CREATE TABLE.

What changes rows afterwards (UPDATE, DELETE) and values that are no literals are reported by `problems`: a dump has
none. Tables that nobody wants are passed over.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.left_out import Origin
from forkpolicy.importing.sql.tokens import DumpError, Token, Words, text_of_bytea

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# What begins a line of CREATE TABLE that is no column.
_NO_COLUMN: Final = frozenset(
    "primary key unique constraint index foreign check fulltext spatial exclude like".split()  # noqa: SIM905
)
_BEFORE_INTO: Final = frozenset(
    {"ignore", "delayed", "low_priority", "high_priority", "into", "or", "replace", "quick"}
)
_LITERALS: Final = {"null": None, "true": "1", "false": "0", "default": None}
_COPY_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_COPY_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v"}
# How the programs that write dumps begin and end one.
_WHOLE: Final = (
    (re.compile(r"^-- (?:MySQL|MariaDB) dump ", re.MULTILINE), "-- Dump completed"),
    (re.compile(r"^-- PostgreSQL database dump$", re.MULTILINE), "-- PostgreSQL database dump complete"),
    (re.compile(r"^PRAGMA foreign_keys=OFF;$", re.MULTILINE), "COMMIT;"),
)
_MARGIN_CHARS: Final = 65536
_DELIMITER: Final = re.compile(r"DELIMITER[ \t]+(\S+)[ \t]*(?:\n|$)", re.IGNORECASE)


class Row(NamedTuple):
    """One row: values by the names of their columns in lower case. None is NULL."""

    table: str
    values: dict[str, str | None]
    origin: Origin

    def get(self, column: str) -> str:
        """The text in a column; empty for NULL and where there is no such column."""
        return (self.values.get(column) or "").strip()


class Problem(NamedTuple):
    """Something of the dump that is not understood."""

    origin: Origin
    what: str
    reason: str


@dataclass
class Dump:
    """One text. `wanted`: names of tables, in lower case."""

    path: str
    text: str
    wanted: frozenset[str]
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._words = Words(self.text)
        self._lines = [found.start() for found in re.finditer("\n", self.text)]
        self._columns: dict[str, list[str]] = {}
        self._bytes: dict[str, set[str]] = {}

    def rows(self) -> Iterator[Row]:
        """All rows of wanted tables, in order."""
        at = 0
        try:
            while (first := next(self._words.tokens(at), None)) is not None:
                at = yield from self._statement(first)
        except DumpError as error:
            self._problem(error.at, "the rest of the file", error.reason)
        else:
            self._refuse_cut(at)

    def _refuse_cut(self, at: int) -> None:
        """A dump that is not whole, as after a full disk, is reported wherever it was cut. `at`: where it ends."""
        begin, end = self.text[:_MARGIN_CHARS], self.text[-_MARGIN_CHARS:]
        known = next((last for first, last in _WHOLE if first.search(begin)), "")
        if (known and known not in end) or not (known or self.text[:at].rstrip().endswith((";", "\\."))):
            missing = f'the line "{known}" is missing' if known else "its last statement does not end"
            self._problem(
                len(self.text.rstrip()), "the rest of the file", f"{missing}: the dump was cut, make it again"
            )

    def _statement(self, first: Token) -> Generator[Row, None, int]:
        """One statement; the character behind it."""
        word = first.value.lower() if first.kind == "word" else ""
        if word == "delimiter" and (found := _DELIMITER.match(self.text, first.at)):
            return self._behind_delimiter(found)
        statement = _Statement(self._words.tokens(first.end))
        if word in ("insert", "replace"):
            return (yield from self._insert(statement, first))
        if word == "copy":
            return (yield from self._copy(statement, first))
        if word == "create":
            self._create(statement)
        elif word in ("update", "delete") and (table := statement.table_behind({"from", *_BEFORE_INTO})) in self.wanted:
            self._problem(
                first.at, f"{word.upper()} of {table}", "a statement that changes rows, which an import does not run"
            )
        return self._words.end_of_statement(first.at)

    def _behind_delimiter(self, found: re.Match[str]) -> int:
        """Stored programs stand between two of these lines."""
        if found[1] == ";":
            return found.end()
        end = re.compile(r"^DELIMITER[ \t]+;", re.IGNORECASE | re.MULTILINE).search(self.text, found.end())
        return end.end() if end else len(self.text)

    def _create(self, statement: _Statement) -> None:
        """The names of its columns, and which of them are bytes."""
        skipped = {"table", "if", "not", "exists", "temporary", "temp", "unlogged", "global", "local"}
        if statement.word() not in ("table", "temporary", "temp", "unlogged", "global", "local"):
            return
        table = statement.table_behind(skipped)
        if table in self.wanted and statement.mark("("):
            columns: list[str] = []
            for parts in statement.pieces():
                name = parts[0]
                if name.kind == "word" and name.value.lower() in _NO_COLUMN:
                    continue
                columns.append(name.value.lower())
                if len(parts) > 1 and parts[1].value.lower() == "bytea":
                    self._bytes.setdefault(table, set()).add(columns[-1])
            self._columns[table] = columns

    def _insert(self, statement: _Statement, first: Token) -> Generator[Row, None, int]:
        table = statement.table_behind(_BEFORE_INTO)
        if table not in self.wanted:
            return self._words.end_of_statement(first.at)
        columns = self._columns.get(table, [])
        if statement.mark("("):
            columns = [parts[0].value.lower() for parts in statement.pieces()]
        if not columns or statement.word() not in ("values", "value"):
            reason = "no VALUES" if columns else "its columns are in neither the statement nor a CREATE TABLE before it"
            self._problem(first.at, f"INSERT into {table}", reason)
            return self._words.end_of_statement(first.at)
        statement.skip()
        while statement.mark("("):
            begin = statement.at
            row = self._row(table, columns, list(statement.pieces()), begin)
            if row:
                yield row
            statement.mark(",")
        return self._words.end_of_statement(statement.at)

    def _row(self, table: str, columns: list[str], pieces: list[list[Token]], at: int) -> Row | None:
        if len(pieces) != len(columns):
            self._problem(at, f"a row of {table}", f"{len(pieces)} values for {len(columns)} columns")
            return None
        values: dict[str, str | None] = {}
        for column, parts in zip(columns, pieces, strict=True):
            token = parts[0]
            # PostgreSQL may say of which type a value is: 'x'::text.
            is_cast = len(parts) > 3 and parts[1].value == parts[2].value == ":"
            is_unknown_word = token.kind == "word" and token.value.lower() not in _LITERALS
            if token.kind == "mark" or is_unknown_word or (len(parts) > 1 and not is_cast):
                shown = "".join(part.value for part in parts)[:40]
                self._problem(at, f"a row of {table}", f"the value of {column} is not a literal: {shown}")
                return None
            values[column] = _LITERALS[token.value.lower()] if token.kind == "word" else token.value
        return self._made(table, values, at)

    def _copy(self, statement: _Statement, first: Token) -> Generator[Row, None, int]:
        table = statement.table_behind(set())
        columns = [parts[0].value.lower() for parts in statement.pieces()] if statement.mark("(") else []
        columns = columns or self._columns.get(table, [])
        end = self._words.end_of_statement(first.at)
        if statement.word() != "from":
            return end
        at = self.text.find("\n", end) + 1 or len(self.text)
        while at < len(self.text):
            newline = self.text.find("\n", at)
            newline = len(self.text) if newline < 0 else newline
            line, begin, at = self.text[at:newline], at, newline + 1
            if line == "\\.":
                break
            if table in self.wanted:
                cells = [_copied(cell) for cell in line.split("\t")]
                if len(cells) != len(columns):
                    self._problem(begin, f"a row of {table}", f"{len(cells)} values for {len(columns)} columns")
                else:
                    yield self._made(table, dict(zip(columns, cells, strict=True)), begin)
        return min(at, len(self.text))

    def _made(self, table: str, values: dict[str, str | None], at: int) -> Row:
        for column in self._bytes.get(table, ()):
            value = values.get(column)
            if value is not None:
                values[column] = text_of_bytea(value)
        return Row(table, values, self._origin(at))

    def _origin(self, at: int) -> Origin:
        return Origin(self.path, bisect_right(self._lines, at - 1) + 1)

    def _problem(self, at: int, what: str, reason: str) -> None:
        self.problems.append(Problem(self._origin(at), what, reason))


class _Statement:
    """The words of a statement, one ahead."""

    def __init__(self, tokens: Iterator[Token]) -> None:
        self._tokens = tokens
        self._next = next(tokens, None)
        self._last_at = 0

    @property
    def at(self) -> int:
        """Where the next word is, or the last one ended."""
        return self._next.at if self._next else self._last_at

    def skip(self) -> Token | None:
        token = self._next
        if token and token.value == ";" and token.kind == "mark":
            return None
        if token:
            self._last_at = token.end
            self._next = next(self._tokens, None)
        return token

    def word(self) -> str:
        """The next word, in lower case; empty if it is something else."""
        return self._next.value.lower() if self._next and self._next.kind == "word" else ""

    def mark(self, mark: str) -> bool:
        """Go past this mark, if it is the next word."""
        is_next = self._next is not None and self._next.kind == "mark" and self._next.value == mark
        if is_next:
            self.skip()
        return is_next

    def table_behind(self, skipped: set[str] | frozenset[str]) -> str:
        """The name of the table behind some words, without its schema."""
        while self.word() in skipped:
            self.skip()
        name = self.skip()
        while self.mark("."):
            name = self.skip()
        return name.value.lower() if name else ""

    def pieces(self) -> Iterator[list[Token]]:
        """What stands between the commas up to the bracket that closes; an empty piece is left away at the end."""
        depth, piece = 0, list[Token]()
        while (token := self.skip()) is not None:
            if token.kind == "mark":
                if token.value == ")" and depth == 0:
                    break
                if token.value == "," and depth == 0:
                    yield piece or [token]
                    piece = []
                    continue
                depth += {"(": 1, ")": -1}.get(token.value, 0)
            piece.append(token)
        if piece:
            yield piece


def _copied(cell: str) -> str | None:
    if cell == "\\N":
        return None
    return _COPY_ESCAPE.sub(lambda found: _COPY_LETTERS.get(found[1], found[1]), cell) if "\\" in cell else cell
