"""Whether the sources of a table can be had, and whether its compiled table is of them: for `forkpolicy check`.

Reads what is on this machine, of feeds their copies; databases and other hosts are left alone. What is wrong inside a
source is for forkpolicy-compile to say. Raises nothing for what it finds.
"""

from __future__ import annotations

import stat
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy import expiry
from forkpolicy.compile.diagnostics import as_warning
from forkpolicy.compile.feeds import KeptFeeds
from forkpolicy.compile.result import Options
from forkpolicy.compile.sources.csvfile import CsvSource
from forkpolicy.compile.sources.digest import digest_sources
from forkpolicy.compile.sources.ldapsearch import LdapSource
from forkpolicy.compile.sources.mmdb import MmdbSource
from forkpolicy.compile.sources.registry import STDIN, TextSource, diagnostic_at, open_source, with_whole_queries
from forkpolicy.durations import show_duration
from forkpolicy.errors import ConfigError, Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.feed_copies import FeedNote
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.tables.live_table import LiveTable

# Timers come every hour, or each night.
OLD_S: Final = 2 * 86400


def source_diagnostics(declared: TableDeclaration, slot: LiveTable) -> Iterator[Diagnostic]:
    """What keeps the table from being compiled from its sources; else a warning if they have changed since it was.

    `slot` has the compiled table open, if there is one.
    """
    declaration = with_whole_queries(declared)
    feeds = KeptFeeds(Path(slot.path).parent, declaration.name)
    day = slot.table.info.expires if slot.table else ""
    if expiry.is_over(day, expiry.today()):
        message = f'table "{declaration.name}" still serves an entry that expired when {day} was over'
        hint = f"forkpolicy-compile {declaration.name} leaves it out; forkpolicy-tables.timer does so each night"
        yield Diagnostic(declaration.path, declaration.line, 0, message, hint=hint, severity="warning")
    found = [each for at in range(len(declaration.sources)) for each in _of_source(declaration, at, feeds)]
    yield from found
    if any(each.severity == "error" for each in found) or not slot.table:
        return
    message = hint = ""
    if not slot.table.info.content_digest:
        # Its digest of the sources was made otherwise, and says nothing to us.
        message = f'table "{declaration.name}" was compiled by an earlier release, in its format'
        hint = f"it serves; forkpolicy-compile {declaration.name} writes this release's"
    elif _is_another(declaration, slot.table.info.source_digest, feeds):
        message = f'table "{declaration.name}" was compiled from other contents of its sources than they have now'
        hint = f"forkpolicy-compile {declaration.name} loads the new contents; with --dry-run it shows the difference"
    if message:
        yield Diagnostic(declaration.path, declaration.line, 0, message, hint=hint, severity="warning")


def is_current(declared: TableDeclaration, slot: LiveTable) -> bool:
    """Whether the compiled table, which `slot` has open, is of what its sources have now."""
    declaration = with_whole_queries(declared)
    feeds = KeptFeeds(Path(slot.path).parent, declaration.name)
    return slot.table is not None and not _is_another(declaration, slot.table.info.source_digest, feeds)


def _of_source(declaration: TableDeclaration, at: int, feeds: KeptFeeds) -> Iterator[Diagnostic]:
    try:
        source = open_source(declaration, at)
    except ConfigError as error:
        yield from error.diagnostics
        return
    if isinstance(source, MmdbSource):
        yield from _of_database(source, declaration, at)
    elif isinstance(source, LdapSource):
        yield from _of_directory(source, declaration, at)
    elif isinstance(source, TextSource | CsvSource) and source.url:
        remark = _remark_on(feeds.note_of(source.url))
        if remark:
            yield as_warning(diagnostic_at(declaration, at, remark))
    elif isinstance(source, TextSource | CsvSource) and source.path != STDIN:
        why = _why_unreadable(Path(source.path))
        if why:
            yield diagnostic_at(declaration, at, why)


def _remark_on(note: FeedNote | None) -> str:
    """What to say of the copy of a feed: nothing where it is of the last two days."""
    if not note:
        return "it was not fetched yet, or its copy is damaged"
    age_s = max(0.0, time.time() - note.confirmed)
    if note.failing_since:
        return f"it cannot be fetched: {note.reason}; its last good copy is {show_duration(age_s)} old"
    if age_s > OLD_S:
        return f"it was last fetched {show_duration(age_s)} ago: no timer compiles this table"
    return ""


def _of_directory(source: LdapSource, declaration: TableDeclaration, at: int) -> Iterator[Diagnostic]:
    """Its file is read, and no server is asked."""
    try:
        source.check()
    except ConfigError as error:
        yield from error.diagnostics
    except ValueError as error:
        yield diagnostic_at(declaration, at, str(error))


def _of_database(source: MmdbSource, declaration: TableDeclaration, at: int) -> Iterator[Diagnostic]:
    """A database is opened, not listed."""
    try:
        remark = source.check()
    except OSError as error:
        yield diagnostic_at(declaration, at, f"it cannot be read: {(error.strerror or str(error)).lower()}")
    except ValueError as error:
        yield diagnostic_at(declaration, at, str(error))
    else:
        if remark:
            yield as_warning(diagnostic_at(declaration, at, remark))


def _why_unreadable(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # A pipe may be meant, and gives what it has but once.
            return "this is a directory" if path.is_dir() else ""
        with path.open("rb"):
            return ""
    except OSError as error:
        return f"it cannot be read: {(error.strerror or str(error)).lower()}"


def _is_another(declaration: TableDeclaration, digest: str, feeds: KeptFeeds) -> bool:
    """Whether the sources, read now, are not those of the digest, whatever the options of that compile were."""
    if any(source == STDIN or source.startswith(("ldap:", "sql:")) for source in declaration.sources):
        return False
    every = [Options(skip_bad=skip, allow_wide=wide).flags for skip, wide in product((False, True), repeat=2)]
    try:
        return digest not in digest_sources(declaration, feeds, *every)
    except (ConfigError, OSError, ValueError):
        return False
