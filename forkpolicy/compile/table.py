"""Compile one table: sources to records, records to a file aside, the file into its place. Whole or not at all.

`compile_table` never raises for mistakes in sources; they are in its `Result`, all of them, and the table in use stays
as it was. CannotWriteError leaves it when the tables directory does not take what is written, and when memory is short
or a child was killed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from forkpolicy.compile.diagnostics import ACCEPTED_BY, MAX_DIAGNOSTICS, as_warning, at_table
from forkpolicy.compile.feed_urls import is_feed
from forkpolicy.compile.feeds import Feeds
from forkpolicy.compile.output.difference import compare
from forkpolicy.compile.output.statistics import statistics_of
from forkpolicy.compile.output.writer import TableWriter
from forkpolicy.compile.protect import OWN_HINT, UNPROTECTED, UNPROTECTED_HINT, Protection
from forkpolicy.compile.read_sources import SourcesReader, why_wrong
from forkpolicy.compile.result import Options, Result, State
from forkpolicy.compile.shrinking import HINT, Shrinking
from forkpolicy.compile.sorting.flatten import flatten
from forkpolicy.compile.sorting.parallel_flatten import flatten_in_parallel
from forkpolicy.compile.sorting.sorted_store import SortedStore
from forkpolicy.compile.sorting.tally import Pair, Tally
from forkpolicy.compile.sources.digest import digest_sources
from forkpolicy.compile.sources.registry import diagnostic_at, with_whole_queries
from forkpolicy.errors import CannotWriteError, ConfigError, Diagnostic, TableError
from forkpolicy.expiry import is_over, is_soon
from forkpolicy.tables.examples import examples_in
from forkpolicy.tables.format import TableInfo
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.reader import Table, open_table
from forkpolicy.terminal.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from forkpolicy.compile.directory import TablesDirectory
    from forkpolicy.compile.read_sources import Reading
    from forkpolicy.policy.nodes import TableDeclaration

# Half a millisecond. Each sort of entry in a column is tried with each of the others.
MOST_STEPS: Final = 1000
STEPS_HINT: Final = "names below a domain of so many labels are a sort of their own: leave out those of many labels"


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
        self._shrinking = Shrinking(self._declaration, options)
        self._result = Result(declaration.name, declaration.kind, str(self._path))
        self._feeds = Feeds(directory, declaration.name)

    def compile(self) -> Result:
        try:
            result = self._compile()
            self._warn_of_feeds()
            if result.state in ("compiled", "unchanged") and not self._options.dry_run:
                self._feeds.keep()
            return result
        finally:
            self._feeds.discard()

    def _warn_of_feeds(self) -> None:
        for url, text in self._feeds.warnings.items():
            at = next(at for at, word in enumerate(self._declaration.sources) if url in word)
            self._result.diagnostics.append(as_warning(diagnostic_at(self._declaration, at, text)))

    def _compile(self) -> Result:
        wrong = why_wrong(self._declaration)
        if wrong:
            return self._result.refuse(at_table(self._declaration, wrong))
        self._directory.refuse_foreign(self._declaration.name)
        before = self._open_present()
        try:
            if self._options.if_changed and before and self._is_unchanged(before):
                return self._leave(before)
            return self._compile_to_store(before)
        finally:
            if before:
                before.close()

    def _open_present(self) -> Table | None:
        """The table in use; None where there is none that could be compared with."""
        if not self._path.exists():
            return None
        try:
            return self._open(self._path)
        except TableError as error:
            message = f"cannot compare with the table in use: {error}"
            self._result.diagnostics.append(as_warning(at_table(self._declaration, message)))
            return None

    def _open(self, path: Path) -> Table:
        return open_table(str(path), self._declaration.name, self._kind)

    def _is_unchanged(self, before: Table) -> bool:
        if is_over(before.info.expires, self._options.today):
            return False
        try:
            return before.info.source_digest in digest_sources(self._declaration, self._feeds, self._options.flags)
        except (ConfigError, OSError, ValueError):
            # The full run that follows finds the words for it.
            return False

    def _leave(self, before: Table) -> Result:
        """The table in use as it is, unless what is protected has changed."""
        # Which ones expire soon is not known without reading the sources, only when the first one does.
        if is_soon(before.info.expires, self._options.today):
            message = f"its first entry expires when {before.info.expires} is over"
            self._result.diagnostics.append(as_warning(at_table(self._declaration, message)))
        protected = self._protected_entries(before)
        return self._result.refuse(*protected) if protected else self._describe(before, "unchanged")

    def _compile_to_store(self, before: Table | None) -> Result:
        store = SortedStore(self._directory, self._declaration.name)
        try:
            return self._compile_with(store, before)
        finally:
            store.close()

    def _compile_with(self, store: SortedStore, before: Table | None) -> Result:
        reader = SourcesReader(
            self._declaration,
            store,
            self._feeds,
            allow_wide=self._options.allow_wide,
            flags=self._options.flags,
            today=self._options.today,
            progress=self._progress,
        )
        reading = reader.read()
        self._report(reading)
        has_entries = store.count or reading.expiring.expired_count
        if not (self._result.errors or has_entries or self._shrinking.may_be_empty()):
            message = "none of its sources has an entry"
            self._result.diagnostics.append(at_table(self._declaration, message, ACCEPTED_BY))
        if self._result.errors:
            return self._result
        if self._options.if_changed and before and self._is_of(reading, before):
            # Of a pipe this is known no earlier.
            return self._leave(before)
        aside = self._directory.aside(self._declaration.name)
        try:
            return self._write(reading, store, aside, before)
        finally:
            aside.unlink(missing_ok=True)

    def _is_of(self, reading: Reading, before: Table) -> bool:
        info = before.info
        return reading.digest == info.source_digest and not is_over(info.expires, self._options.today)

    def _report(self, reading: Reading) -> None:
        result, declaration = self._result, self._declaration
        result.diagnostics += reading.diagnostics[:MAX_DIAGNOSTICS]
        result.unshown += max(0, len(reading.diagnostics) - MAX_DIAGNOSTICS)
        if not self._options.skip_bad:
            result.add(reading.bad)
        elif reading.bad.count:
            first = reading.bad.diagnostics[0]
            lines = "one line was" if reading.bad.count == 1 else f"{reading.bad.count} lines were"
            message = f"{lines} left out, first {first.place}: {first.message}"
            result.diagnostics.append(as_warning(at_table(declaration, message)))
        result.diagnostics += self._shrinking.refuse_sources(reading.empty_sources, reading.worthless_sources)
        result.diagnostics += reading.warnings
        if self._options.recipient_delimiter and {"sender", "recipient"}.intersection(declaration.key_attributes):
            message = "recipient_delimiter does not apply to a key table that is asked for several attributes"
            hint = "an entry for user@example.com does not match user+ext@example.com; in a table of kind pair it does"
            result.diagnostics.append(as_warning(at_table(declaration, message, hint)))

    def _write(self, reading: Reading, store: SortedStore, aside: Path, before: Table | None) -> Result:
        tally = Tally(tuple(reading.names), self._options.skip_bad)
        parsed = store.count
        writer = TableWriter(aside, self._kind)
        try:
            self._progress.begin(parsed, "entries written")
            for batch in self._batches(store, tally):
                writer.put(batch)
                self._progress.at(tally.entries, tally.entries)
            self._report_tally(tally)
            self._refuse_slow_look_ups(tally)
            self._refuse_shrinking(self._shrinking.check_count(tally.entries, before, reading.expiring))
            if self._result.errors:
                return self._result
            writer.finish(self._info(reading, tally, parsed))
        finally:
            writer.close()
        return self._judge(aside, before, reading)

    def _report_tally(self, tally: Tally) -> None:
        self._result.add(tally.conflicts)
        self._result.diagnostics += tally.order_examples
        hidden = tally.out_of_order - len(tally.order_examples)
        if hidden:
            message = f"{hidden} more networks stand below one that contains them"
            self._result.diagnostics.append(as_warning(at_table(self._declaration, message)))

    def _refuse_slow_look_ups(self, tally: Tally) -> None:
        """A list of strangers with names of a hundred labels must not make each request wait."""
        steps = KINDS[self._kind].most_steps(tally.forms)
        if steps > MOST_STEPS:
            message = f"a look-up might take {steps:,} steps, and at most {MOST_STEPS:,} are allowed"
            self._result.diagnostics.append(at_table(self._declaration, message, STEPS_HINT))

    def _batches(self, store: SortedStore, tally: Tally) -> Iterator[list[Pair]]:
        if store.settle():
            return flatten_in_parallel(self._kind, store, tally, is_wide=self._options.allow_wide)
        return flatten(self._kind, store.blocks(), tally)

    def _info(self, reading: Reading, tally: Tally, parsed: int) -> TableInfo:
        counts = {
            "parsed": parsed,
            "merged": tally.merged,
            "nested": tally.nested,
            "skipped": reading.bad.count + tally.skipped,
            "ranges": tally.ranges,
            "expired": reading.expiring.expired_count,
        }
        traits = tally.traits
        if reading.expiring.first:
            traits["expires"] = reading.expiring.first.isoformat()
        return TableInfo(
            self._declaration.name,
            self._kind,
            reading.digest,
            tally.entries,
            time.time(),
            tuple(reading.names),
            counts,
            traits,
        )

    def _judge(self, aside: Path, before: Table | None, reading: Reading) -> Result:
        """Look at the finished file, then put it in place unless something speaks against it."""
        table = self._open(aside)
        try:
            self._describe(table, "compiled")
            self._refuse_shrinking(self._shrinking.check_lists(table, before, reading.expiring))
            self._result.diagnostics += [] if self._result.errors else self._protected_entries(table)
            if self._result.errors:
                return self._result.refuse()
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

    def _refuse_shrinking(self, message: str) -> None:
        if message:
            self._result.diagnostics.append(at_table(self._declaration, message, HINT))

    def _protected_entries(self, table: Table) -> list[Diagnostic]:
        """Those that the operator protects, and in a feed our own, too."""
        options, directory, name = self._options, self._directory, self._declaration.name
        found = Protection.load(options.protect, directory, name).diagnostics(table)
        if options.allow_own or not any(map(is_feed, self._declaration.sources)):
            return found
        own = Protection.of_tables(options.own_tables, directory, name)
        if own.is_empty and not options.protect:
            self._result.diagnostics.append(as_warning(at_table(self._declaration, UNPROTECTED, UNPROTECTED_HINT)))
        return found or own.diagnostics(table, OWN_HINT)

    def _describe(self, table: Table, state: State) -> Result:
        result, info = self._result, table.info
        result.state, result.version, result.digest = state, table.version, info.content_digest
        result.entries, result.counts, result.expires = info.entries, dict(info.counts), info.expires
        result.size_bytes, result.examples = table.size_bytes, examples_in(table)
        if self._options.stats:
            result.statistics = statistics_of(table)
        return result


def _says_the_same(info: TableInfo, before: TableInfo) -> bool:
    """Whether nothing but the time differs: entries, how long they serve, and the sources and lines that they are shown
    with.
    """
    of_before = before.content_digest, before.source_digest, before.expires
    return (info.content_digest, info.source_digest, info.expires) == of_before
