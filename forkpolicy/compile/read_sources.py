"""Parse the sources of one table into its record store: small ones here, large ones on every core.

Collects diagnostics with file and line, notes that deserve a warning, and the digest of everything read. Mistakes of
the operator are in the result; CannotWriteError leaves it when a run cannot be written or a child was killed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.children import Children
from forkpolicy.compile.diagnostics import ACCEPTED_BY, FirstDiagnostics, as_warning
from forkpolicy.compile.directory import writing
from forkpolicy.compile.expiring import Expiring
from forkpolicy.compile.sorting.external_sort import Run, write_run
from forkpolicy.compile.sorting.sort_records import Parsed, RecordParser
from forkpolicy.compile.sources import registry
from forkpolicy.compile.sources.digest import SourceDigest
from forkpolicy.compile.sources.mmdb import MmdbSource
from forkpolicy.compile.sources.registry import Block, TextSource
from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.tables.kinds import check_kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from forkpolicy.compile.feeds import FeedFiles
    from forkpolicy.compile.sorting.sorted_store import SortedStore
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.tables.rows import Row, RowSource
    from forkpolicy.terminal.progress import Progress

_ROWS_A_CHUNK: Final = 10_000

# Entries name their source by one byte.
MAX_SOURCES: Final = 256
# A file name has 255 bytes (NAME_MAX), of which what is written aside needs some.
_MAX_NAME_CHARS: Final = 200


def why_wrong(declaration: TableDeclaration) -> str:
    """Why nothing can be compiled of a declaration, whatever its sources have; empty where it can."""
    try:
        check_kind(declaration.kind)
    except ValueError as error:
        return str(error)
    if len(declaration.sources) > MAX_SOURCES:
        return f"a table has {MAX_SOURCES} sources at most"
    length = len(declaration.name)
    if length > _MAX_NAME_CHARS:
        return f"its name has {length} characters, and its file is named after it: {_MAX_NAME_CHARS} at most"
    return ""


@dataclass(slots=True)
class Reading:
    """What reading all sources of a table found, in addition to records."""

    # The declared sources in their order, then the files and maps that they lead to.
    names: list[str]
    # Sources that cannot be had at all, and lines that are wrong: only the latter can be skipped.
    diagnostics: list[Diagnostic] = field(default_factory=list)
    bad: FirstDiagnostics = field(default_factory=FirstDiagnostics)
    # By the index of the source: those without a line, and those without a line that is an entry.
    empty_sources: dict[int, Diagnostic] = field(default_factory=dict)
    worthless_sources: dict[int, Diagnostic] = field(default_factory=dict)
    warnings: list[Diagnostic] = field(default_factory=list)
    digest: str = ""
    expiring: Expiring = field(default_factory=Expiring)
    _notes: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def add(self, source_name: str, parsed: Parsed) -> None:
        """Take in what came of one piece, without its records."""
        self.bad.add_all(parsed.bad)
        self.expiring.add(parsed.expiring)
        for text, (count, line) in parsed.notes.items():
            before, first = self._notes.get((source_name, text), (0, line))
            self._notes[source_name, text] = (before + count, min(first, line))

    def finish(self) -> None:
        """Turn what was noted into warnings."""
        for (source_name, text), (count, line) in self._notes.items():
            more = f" ({count} times, here first)" if count > 1 else ""
            self.warnings.append(Diagnostic(source_name, line, 0, f"{text}{more}", severity="warning"))
        self.warnings += self.expiring.named()


@dataclass(frozen=True, slots=True)
class _Job:
    parser: RecordParser
    block: Block
    run: Path


@dataclass(frozen=True, slots=True)
class _Done:
    source_name: str
    parsed: Parsed
    run: Run
    lines: int
    size_bytes: int


class SourcesReader:
    """Reads all sources of one table."""

    def __init__(
        self,
        declaration: TableDeclaration,
        store: SortedStore,
        feeds: FeedFiles,
        *,
        allow_wide: bool,
        flags: str,
        today: date,
        progress: Progress,
    ) -> None:
        self._declaration, self._store, self._feeds = declaration, store, feeds
        self._allow_wide, self._today, self._progress = allow_wide, today, progress
        self._digest = SourceDigest(declaration, flags)
        self._reading = Reading(list(declaration.sources))
        # Of the source that is being read.
        self._bytes_read = self._lines_read = 0

    def read(self) -> Reading:
        """Read and parse everything. Raises CannotWriteError."""
        reading = self._reading
        for index in range(len(self._declaration.sources)):
            before, bad_before = self._count_entries(), reading.bad.count
            diagnostics = self._read_source(index)
            reading.diagnostics += diagnostics
            if not diagnostics and self._count_entries() == before:
                self._note_without_entry(index, is_empty=reading.bad.count == bad_before)
        (reading.digest,) = self._digest.hexdigests()
        reading.finish()
        return reading

    def _count_entries(self) -> int:
        """Those that have expired, too: a source that has nothing else was not lost."""
        return self._store.count + self._reading.expiring.expired_count

    def _note_without_entry(self, index: int, *, is_empty: bool) -> None:
        if is_empty and registry.is_of_postfix(self._declaration.sources[index]):
            return
        what = "the source is empty" if is_empty else "no line of the source is an entry"
        where = self._reading.empty_sources if is_empty else self._reading.worthless_sources
        by = ACCEPTED_BY if is_empty else "--allow-shrink accepts it"
        hint = f"most often a download failed; {by}"
        where[index] = registry.diagnostic_at(self._declaration, index, what, hint)

    def _read_source(self, index: int) -> list[Diagnostic]:
        declaration = self._declaration
        try:
            source = registry.fetched(registry.open_source(declaration, index), self._feeds)
            self._reading.names[index] = source.name
            self._digest.begin_source(index)
            self._bytes_read = self._lines_read = 0
            self._progress.begin(source.size_bytes if isinstance(source, TextSource) else 0, "lines")
            if isinstance(source, TextSource):
                self._read_text(source, self._parser(index))
            else:
                self._read_rows(source, index)
        except ConfigError as error:
            return list(error.diagnostics)
        except OSError as error:
            return [registry.diagnostic_at(declaration, index, f"cannot be read: {error.strerror or error}")]
        except ValueError as error:
            return [registry.diagnostic_at(declaration, index, str(error))]
        return []

    def _parser(self, index: int) -> RecordParser:
        kind, name = self._declaration.kind, self._reading.names[index]
        asked, values_as = self._declaration.key_attributes, self._declaration.values_as
        return RecordParser(kind, index, name, self._today, self._allow_wide, asked, values_as)

    def _index_of(self, name: str) -> int:
        """Where a file that a source leads to stands among the sources."""
        names = self._reading.names
        if name not in names:
            if len(names) == MAX_SOURCES:
                raise ValueError(
                    f"a table has {MAX_SOURCES} sources at most, files and maps that they lead to included"
                )
            names.append(name)
        return names.index(name)

    def _read_rows(self, source: RowSource, index: int) -> None:
        rows = registry.placed_rows(source)
        if not isinstance(source, MmdbSource):
            rows = self._digest.adding(rows)
        for name, placed in groupby(rows, key=itemgetter(0)):
            parser = self._parser(index if name == source.name else self._index_of(name))
            while self._read_chunk(name, parser, islice(placed, _ROWS_A_CHUNK)):
                pass
        if isinstance(source, MmdbSource):
            self._digest.add_text(source.digest)
        for text in source.warnings:
            warning = registry.diagnostic_at(self._declaration, index, text)
            self._reading.warnings.append(as_warning(warning))

    def _read_chunk(self, name: str, parser: RecordParser, placed: Iterator[tuple[str, Row]]) -> int:
        """How many rows there were; those before a mistake of their source are taken in, with their own mistakes."""
        parsed, rows = Parsed(), 0
        try:
            for _, row in placed:
                rows += 1
                parser.parse_row(row, parsed)
        finally:
            self._take(name, parsed, rows, 0)
        return rows

    def _read_text(self, source: TextSource, parser: RecordParser) -> None:
        children: Children[_Job, _Done] = Children(_parse_to_run)
        try:
            for done in children.map(self._jobs(source, parser)):
                self._reading.add(done.source_name, done.parsed)
                self._store.add_run(done.run)
                self._advance(done.lines, done.size_bytes)
        finally:
            children.close()

    def _jobs(self, source: TextSource, parser: RecordParser) -> Iterator[_Job]:
        """A job for each block of a large source; a small one is parsed here and now."""
        for block in source.blocks():
            self._digest.add_text(block.text)
            if block.whole:
                lines = _lines(block)
                self._take(parser.source_name, parser.parse_lines(lines, block.first_line), len(lines), len(block.text))
            else:
                yield _Job(parser, block, self._store.new_file())

    def _take(self, source_name: str, parsed: Parsed, lines: int, size_bytes: int) -> None:
        self._reading.add(source_name, parsed)
        self._store.add(parsed.records)
        self._advance(lines, size_bytes)

    def _advance(self, lines: int, size_bytes: int) -> None:
        self._lines_read += lines
        self._bytes_read += size_bytes
        self._progress.at(self._bytes_read, self._lines_read)


def _lines(block: Block) -> list[str]:
    # Latin-1 keeps every byte; tabs separate as blanks do.
    lines = block.text.decode("latin-1").replace("\t", " ").split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def _parse_to_run(job: _Job) -> _Done:
    """What a child does with a block: parse, sort, write a run."""
    lines = _lines(job.block)
    parsed = job.parser.parse_lines(lines, job.block.first_line)
    parsed.records.sort()
    with writing(job.run):
        run = write_run(job.run, parsed.records)
    parsed.records = []
    return _Done(job.parser.source_name, parsed, run, len(lines), len(job.block.text))
