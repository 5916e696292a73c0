"""`csv:FILE:COLUMN[:VALUE-COLUMN]`: keys (and values) from columns of a CSV file.

A column is a name from the header line, or a number from 1, and then there is no header. Commas, semicolons and tabs
separate, whichever the first line has most of. Blank lines are nothing, in front of the header too. Rows without a key
are left out, and one warning counts them. A byte that is not UTF-8 is a ConfigError at its line, every other mistake
a ValueError.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.lines import LineError, decode_line
from forkpolicy.errors import ConfigError, Diagnostic, nearest
from forkpolicy.tables.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEPARATORS: Final = ",;\t"
# As Latin-1.
_UTF16_BOMS: Final = ("\xff\xfe", "\xfe\xff")


@dataclass(slots=True)
class CsvSource:
    """Two columns of a CSV file."""

    name: str
    path: str
    column: str
    value_column: str
    warnings: list[str] = field(default_factory=list)

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
        if not self.column.isdecimal():
            first = next((line for line in reader if any(cell.strip() for cell in line)), None)
            if first is None:
                return
            header = [name.strip() for name in first]
        key_at = _position(self.column, header)
        value_at = _position(self.value_column, header) if self.value_column else -1
        twice = [name for name in {self.column, self.value_column} if header and header.count(name) > 1]
        self.warnings += [f'the header has "{name}" more than once: the first counts' for name in sorted(twice)]
        without_key = 0
        for line in reader:
            number: int = reader.line_num  # type: ignore[attr-defined]
            if len(line) <= max(key_at, value_at):
                if any(cell.strip() for cell in line):
                    wanted = max(key_at, value_at) + 1
                    raise ValueError(f"{self.path}:{number}: {len(line)} columns where column {wanted} is wanted")
                continue
            key = line[key_at].strip()
            value = line[value_at].strip() if value_at >= 0 else ""
            if key:
                yield Row(key, value or None, number)
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
    parts = argument.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise ValueError("expected csv:FILE:COLUMN or csv:FILE:COLUMN:VALUE-COLUMN")
    path = str(base / parts[0])
    return CsvSource(path, path, parts[1], parts[2] if len(parts) == 3 else "")
