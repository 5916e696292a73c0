"""`csv:FILE:COLUMN[:VALUE-COLUMN]`: keys (and values) from columns of a CSV file, or of one that `https://...` fetches.
A table of several columns takes as many for its key.

A column is a name from the header line, or a number from 1, and then there is no header. Commas, semicolons and tabs
separate, whichever the first line has most of. Blank lines are nothing, in front of the header too. Rows without a key
are left out, and one warning counts them. A byte that is not UTF-8 is a ConfigError at its line, every other mistake
a ValueError.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.feed_urls import check_url
from forkpolicy.compile.lines import LineError, decode_line
from forkpolicy.errors import ConfigError, Diagnostic, nearest
from forkpolicy.secrets import masked
from forkpolicy.tables.format import COLUMN_SEPARATOR
from forkpolicy.tables.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPECTED: Final = "expected csv:FILE:COLUMN or csv:FILE:COLUMN:VALUE-COLUMN"
_SEPARATORS: Final = ",;\t"
# The first colon behind the host ends a URL.
_FORM: Final = re.compile(r"(?:(?P<url>https://[^/]+/[^:]*)|(?!https:)(?P<path>[^:]+)):(?P<columns>[^:]+(?::[^:]+)*)")
# As Latin-1.
_UTF16_BOMS: Final = ("\xff\xfe", "\xfe\xff")


@dataclass(slots=True)
class CsvSource:
    """Columns of a CSV file: those of the key, and that of the value if there is one more. With a `url` it has no path
    before it was fetched.
    """

    name: str
    path: str
    columns: tuple[str, ...]
    key_columns: int = 1
    url: str = ""
    warnings: list[str] = field(default_factory=list)

    def with_columns(self, count: int) -> CsvSource:
        """The same for a table of so many columns. Raises ValueError."""
        if len(self.columns) not in (count, count + 1):
            more = f"expected csv:FILE and {count} columns, or {count + 1} with that of the value"
            raise ValueError(EXPECTED if count == 1 else more)
        return replace(self, key_columns=count)

    def rows(self) -> Iterator[Row]:
        """Key and value of each line. Raises ValueError, ConfigError, OSError."""
        try:
            with Path(self.path).open(encoding="utf-8-sig", newline="") as stream:
                first = next((line for line in stream if line.strip()), "")
                stream.seek(0)
                reader = csv.reader(stream, delimiter=max(_SEPARATORS, key=first.count), strict=True)
                try:
                    yield from self._rows_of(reader)
                except csv.Error as error:
                    raise ValueError(f"{self.path}:{reader.line_num}: not CSV: {error}") from error
        except UnicodeDecodeError as error:
            raise ConfigError([_where_not_utf8(self.path)]) from error

    def _rows_of(self, reader: Iterator[list[str]]) -> Iterator[Row]:
        header = None
        if not self.columns[0].isdecimal():
            first = next((line for line in reader if any(cell.strip() for cell in line)), None)
            if first is None:
                return
            header = [name.strip() for name in first]
        at = [_position(column, header) for column in self.columns]
        key_at, value_at = at[: self.key_columns], at[self.key_columns :]
        twice = [name for name in set(self.columns) if header and header.count(name) > 1]
        self.warnings += [f'the header has "{name}" more than once: the first counts' for name in sorted(twice)]
        without_key = 0
        for line in reader:
            number: int = reader.line_num  # type: ignore[attr-defined]
            if len(line) <= max(at):
                if any(cell.strip() for cell in line):
                    wanted = max(at) + 1
                    raise ValueError(f"{self.path}:{number}: {len(line)} columns where column {wanted} is wanted")
                continue
            cells = [line[each].strip() for each in key_at]
            value = line[value_at[0]].strip() if value_at else ""
            if any(cells):
                yield Row(COLUMN_SEPARATOR.join(cells), value or None, number)
            elif any(cell.strip() for cell in line):
                without_key += 1
        if without_key:
            self.warnings.append(f"rows without a key are left out ({without_key})")


def _where_not_utf8(path: str) -> Diagnostic:
    """Found by reading once more: a decoder knows the place in its buffer only."""
    with Path(path).open(encoding="latin-1") as lines:
        for number, line in enumerate(lines, 1):
            if number == 1 and line.startswith(_UTF16_BOMS):
                return Diagnostic(path, 1, 0, "this is UTF-16: save the file as UTF-8")
            try:
                decode_line(line)
            except LineError as error:
                return Diagnostic(path, number, error.column, str(error), line.rstrip())
    return Diagnostic(path, 0, 0, "this was not UTF-8, and is by now: compile it again")


def _position(column: str, header: list[str] | None) -> int:
    if column.isdecimal():
        if int(column) < 1:
            raise ValueError("columns count from 1")
        return int(column) - 1
    if header is None:
        raise ValueError(f'"{column}" is a name and the other column a number: give names for both, or numbers')
    if column not in header:
        near = nearest(column, header)
        meant = f'; did you mean "{near}"?' if near else f": it has {', '.join(header)}"
        raise ValueError(f'the header has no column "{column}"{meant}')
    return header.index(column)


def open_source(argument: str, base: Path) -> CsvSource:
    """The source of `FILE:COLUMN[:VALUE-COLUMN]`. Raises ValueError."""
    found = _FORM.fullmatch(argument)
    if not found:
        raise ValueError(EXPECTED)
    columns = tuple(found["columns"].split(":"))
    if found["url"]:
        url = check_url(found["url"])
        return CsvSource(masked(url), "", columns, url=url)
    path = str(base / found["path"])
    return CsvSource(path, path, columns)
