"""Compile one table: sources to records, records to a file aside, the file into its place. Whole or not at all.

`compile_table` never raises for mistakes in sources; they are in its `Result`, all of them, and the table in use stays
as it was. CannotWriteError leaves it when the tables directory does not take what is written, and when memory is short
or a child was killed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from forkpolicy.compile.complaints import MAX_COMPLAINTS
from forkpolicy.compile.output.difference import Difference, compare
from forkpolicy.compile.output.statistics import statistics_of
from forkpolicy.compile.output.writer import TableWriter
from forkpolicy.compile.protect import Protection
from forkpolicy.compile.sorting.flatten import Tally, flatten
from forkpolicy.compile.sorting.parallel_flatten import flatten_in_parts
from forkpolicy.compile.sorting.sorted_store import RecordStore
from forkpolicy.compile.sources.parsing import MAX_SOURCES, SourcesReader, digest_sources
from forkpolicy.compile.sources.registry import is_of_kernel, with_whole_queries
from forkpolicy.errors import CannotWriteError, Complaint, ConfigError, TableError
from forkpolicy.progress import Progress
from forkpolicy.tables.examples import examples_in
from forkpolicy.tables.format import TableInfo
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.reader import Table, open_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkpolicy.compile.directory import TablesDirectory
    from forkpolicy.compile.sorting.flatten import Pair
    from forkpolicy.compile.sources.parsing import Reading
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.tables.format import Entry

# A file name has 255 bytes (NAME_MAX), of which what is written aside needs some.
_MAX_NAME_CHARS: Final = 200

# A table that loses more than this is a failed download more often than a cleaned list.
_SMALLEST_PART: Final = 0.5

State = Literal["compiled", "unchanged", "compared", "refused", "not written"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about every table."""

    skip_bad: bool = False
    allow_wide: bool = False
    allow_shrink: bool = False
    interfaces_may_shrink: bool = False
    dry_run: bool = False
    if_changed: bool = False
    stats: bool = False
    protect: tuple[str, ...] = ()
    recipient_delimiter: str = ""

    @property
    def flags(self) -> str:
        """What of it changes a table's content."""
        return f"skip_bad={self.skip_bad} allow_wide={self.allow_wide}"


@dataclass(slots=True)
class Result:
    """How compiling one table went. `reason`: why it could not be written."""

    name: str
    kind: str
    path: str
    state: State = "refused"
    reason: str = ""
    complaints: list[Complaint] = field(default_factory=list)
    # Errors beyond the first MAX_COMPLAINTS of a sort.
    unshown: int = 0
    entries: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    size_bytes: int = 0
    seconds: float = 0.0
    version: str = ""
    digest: str = ""
    difference: Difference | None = None
    statistics: dict[str, Any] = field(default_factory=dict)
    # Entries that come from documentation: what their author may have forgotten to replace.
    examples: list[Entry] = field(default_factory=list)

    @property
    def errors(self) -> list[Complaint]:
        """Why it was refused."""
        return [each for each in self.complaints if each.severity == "error"]

    def refuse(self, *complaints: Complaint) -> Result:
        """The same, refused for these reasons too."""
        self.complaints += complaints
        self.state = "refused"
        return self


def compile_table(
    declaration: TableDeclaration,
    directory: TablesDirectory,
    options: Options,
    progress: Progress | None = None,
) -> Result:
    """Compile one declared table. Raises CannotWriteError."""
    started = time.monotonic()
    try:
        result = _TableCompiler(declaration, directory, options, progress or Progress(None)).compile()
    except MemoryError as error:
        raise CannotWriteError("there is not enough memory to compile it") from error
    result.seconds = time.monotonic() - started
    return result


class _TableCompiler:
    def __init__(
        self,
        declaration: TableDeclaration,
        directory: TablesDirectory,
        options: Options,
        progress: Progress,
    ) -> None:
        self._declaration, self._directory = with_whole_queries(declaration), directory
        self._options, self._progress = options, progress
        self._kind = declaration.kind
        self._path = directory.table(declaration.name)
        self._result = Result(declaration.name, declaration.kind, str(self._path))

    def compile(self) -> Result:
        wrong = self._wrong_declaration()
        if wrong:
            return self._result.refuse(self._at_table(wrong))
        self._directory.refuse_foreign(self._declaration.name)
        before = self._open_present()
        try:
            if self._options.if_changed and before and self._is_unchanged(before):
                return self._leave(before)
            return self._compile_beside(before)
        finally:
            if before:
                before.close()

    def _wrong_declaration(self) -> str:
        if self._kind not in KINDS:
            return f'"{self._kind}" is not a kind of table: expected {", ".join(KINDS)}'
        if len(self._declaration.sources) > MAX_SOURCES:
            return f"a table has {MAX_SOURCES} sources at most"
        length = len(self._declaration.name)
        if length > _MAX_NAME_CHARS:
            return f"its name has {length} characters, and its file is named after it: {_MAX_NAME_CHARS} at most"
        return ""

    def _at_table(self, message: str, hint: str = "") -> Complaint:
        text = f"table {self._declaration.name}: {message}"
        return Complaint(self._declaration.path, self._declaration.line, 0, text, hint=hint)

    def _open_present(self) -> Table | None:
        """The table in use; None where there is none that could be compared with."""
        if not self._path.exists():
            return None
        try:
            return self._open(self._path)
        except TableError as error:
            message = f"cannot compare with the table in use: {error}"
            self._result.complaints.append(_warning(self._at_table(message)))
            return None

    def _open(self, path: Path) -> Table:
        return open_table(str(path), self._declaration.name, self._kind)

    def _is_unchanged(self, before: Table) -> bool:
        try:
            return digest_sources(self._declaration, self._options.flags) == before.info.source_digest
        except (ConfigError, OSError, ValueError):
            # The full run that follows finds the words for it.
            return False

    def _leave(self, before: Table) -> Result:
        """The table in use as it is, unless what is protected has changed."""
        offences = self._offences(before)
        return self._result.refuse(*offences) if offences else self._describe(before, "unchanged")

    def _compile_beside(self, before: Table | None) -> Result:
        store = RecordStore(self._directory, self._declaration.name)
        try:
            return self._compile_with(store, before)
        finally:
            store.close()

    def _compile_with(self, store: RecordStore, before: Table | None) -> Result:
        reader = SourcesReader(
            self._declaration,
            store,
            allow_wide=self._options.allow_wide,
            flags=self._options.flags,
            progress=self._progress,
        )
        reading = reader.read()
        self._result.complaints += self._complaints_of(reading)
        if not (self._result.errors or store.count or self._may_be_empty()):
            hint = "--allow-shrink accepts it"
            self._result.complaints.append(self._at_table("none of its sources has an entry", hint))
        if self._result.errors:
            return self._result
        if self._options.if_changed and before and reading.digest == before.info.source_digest:
            # Of a pipe this is known no earlier.
            return self._leave(before)
        aside = self._directory.aside(self._declaration.name)
        try:
            return self._write(reading, store, aside, before)
        finally:
            aside.unlink(missing_ok=True)

    def _complaints_of(self, reading: Reading) -> Iterator[Complaint]:
        yield from reading.complaints[:MAX_COMPLAINTS]
        self._result.unshown += max(0, len(reading.complaints) - MAX_COMPLAINTS)
        if not self._options.skip_bad:
            yield from reading.bad.complaints
            self._result.unshown += reading.bad.unshown
        elif reading.bad.count:
            first = reading.bad.complaints[0]
            lines = "one line was" if reading.bad.count == 1 else f"{reading.bad.count} lines were"
            yield _warning(self._at_table(f"{lines} left out, first {first.place}: {first.message}"))
        if not self._options.allow_shrink:
            useless = reading.empty_sources | (reading.worthless_sources if self._options.skip_bad else {})
            yield from (each for at, each in useless.items() if not self._may_shrink(at))
        yield from reading.warnings
        if self._options.recipient_delimiter and {"sender", "recipient"}.intersection(self._declaration.key_attributes):
            message = "recipient_delimiter does not apply to tables of several attributes"
            hint = "an entry for user@example.com does not match user+ext@example.com"
            yield _warning(self._at_table(message, hint))

    def _write(self, reading: Reading, store: RecordStore, aside: Path, before: Table | None) -> Result:
        tally = Tally(tuple(reading.names), self._options.skip_bad)
        parsed = store.count
        writer = TableWriter(aside, self._kind)
        try:
            self._progress.begin(parsed, "entries written")
            for batch in self._batches(store, tally):
                writer.put(batch)
                self._progress.at(tally.entries, tally.entries)
            self._result.complaints += self._complaints_of_tally(tally)
            self._refuse_shrinking(tally.entries, before)
            if self._result.errors:
                return self._result
            writer.finish(self._info(reading, tally, parsed))
        finally:
            writer.close()
        return self._judge(aside, before)

    def _complaints_of_tally(self, tally: Tally) -> Iterator[Complaint]:
        yield from tally.conflicts.complaints
        self._result.unshown += tally.conflicts.unshown
        yield from tally.order_examples
        hidden = tally.out_of_order - len(tally.order_examples)
        if hidden:
            yield _warning(self._at_table(f"{hidden} more networks stand below one that contains them"))

    def _batches(self, store: RecordStore, tally: Tally) -> Iterator[list[Pair]]:
        if store.settle():
            return flatten_in_parts(self._kind, store, tally, is_wide=self._options.allow_wide)
        return flatten(self._kind, store.blocks(), tally)

    def _info(self, reading: Reading, tally: Tally, parsed: int) -> TableInfo:
        counts = {
            "parsed": parsed,
            "merged": tally.merged,
            "nested": tally.nested,
            "skipped": reading.bad.count + tally.skipped,
            "ranges": tally.ranges,
        }
        return TableInfo(
            self._declaration.name,
            self._kind,
            reading.digest,
            tally.entries,
            time.time(),
            tuple(reading.names),
            counts,
            tally.traits,
        )

    def _refuse_shrinking(self, entries: int, before: Table | None) -> None:
        if before and not (self._options.allow_shrink or self._options.interfaces_may_shrink):
            self._compare_sizes(entries, before.info.entries)

    def _compare_sizes(self, entries: int, before: int) -> None:
        if entries < before * _SMALLEST_PART:
            message = f"{entries} entries, and the table in use has {before}"
            hint = "a loss of more than half is most often a failed download: --allow-shrink accepts it"
            self._result.complaints.append(self._at_table(message, hint))

    def _may_be_empty(self) -> bool:
        return self._options.allow_shrink or any(map(self._may_shrink, range(len(self._declaration.sources))))

    def _may_shrink(self, source: int) -> bool:
        return self._options.interfaces_may_shrink and is_of_kernel(self._declaration.sources[source])

    def _entries_of_lists(self, table: Table) -> int:
        """How many entries are not of this machine's interfaces."""
        of_kernel = {name for name in table.info.sources if is_of_kernel(name)}
        return sum(table.entry(raw).source not in of_kernel for _, raw in table.entries())

    def _judge(self, aside: Path, before: Table | None) -> Result:
        """Look at the finished file, then put it in place unless something speaks against it."""
        table = self._open(aside)
        try:
            self._describe(table, "compiled")
            if before and self._options.interfaces_may_shrink:
                self._compare_sizes(self._entries_of_lists(table), self._entries_of_lists(before))
                if self._result.errors:
                    return self._result.refuse()
            offences = self._offences(table)
            if offences:
                return self._result.refuse(*offences)
            if before and _says_the_same(table.info, before.info) and not self._options.dry_run:
                return self._describe(before, "unchanged")
            if self._options.dry_run:
                self._result.state = "compared"
                self._result.difference = compare(before, table, self._directory)
                return self._result
        finally:
            table.close()
        self._directory.put_in_place(aside, self._declaration.name)
        return self._result

    def _offences(self, table: Table) -> list[Complaint]:
        protection = Protection.load(self._options.protect, self._directory, self._declaration.name)
        return protection.offences(table)

    def _describe(self, table: Table, state: State) -> Result:
        result, info = self._result, table.info
        result.state, result.version, result.digest = state, table.version, info.content_digest
        result.entries, result.counts = info.entries, dict(info.counts)
        result.size_bytes, result.examples = table.size_bytes, examples_in(table)
        if self._options.stats:
            result.statistics = statistics_of(table)
        return result


def _says_the_same(info: TableInfo, before: TableInfo) -> bool:
    """Whether nothing but the time differs: entries, and the sources and lines that they are shown with."""
    return (info.content_digest, info.source_digest) == (before.content_digest, before.source_digest)


def _warning(complaint: Complaint) -> Complaint:
    return Complaint(
        complaint.path, complaint.line, complaint.column, complaint.message, hint=complaint.hint, severity="warning"
    )
