"""Whether the sources of a table can be had, and whether its compiled table is of them: for `forkpolicy check`.

Reads what is on this machine; databases and other hosts are left alone. What is wrong inside a source is for
forkpolicy-compile to say. Raises nothing for what it finds.
"""

from __future__ import annotations

import stat
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.compile.diagnostics import as_warning
from forkpolicy.compile.result import Options
from forkpolicy.compile.sources.csvfile import CsvSource
from forkpolicy.compile.sources.digest import digest_sources
from forkpolicy.compile.sources.mmdb import MmdbSource
from forkpolicy.compile.sources.registry import STDIN, TextSource, diagnostic_at, open_source, with_whole_queries
from forkpolicy.errors import ConfigError, Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.tables.live_table import LiveTable


def source_diagnostics(declared: TableDeclaration, slot: LiveTable) -> Iterator[Diagnostic]:
    """What keeps the table from being compiled from its sources; else a warning if they have changed since it was.

    `slot` has the compiled table open, if there is one.
    """
    declaration = with_whole_queries(declared)
    found = [each for at in range(len(declaration.sources)) for each in _of_source(declaration, at)]
    yield from found
    if any(each.severity == "error" for each in found) or not slot.table:
        return
    message = hint = ""
    if not slot.table.info.content_digest:
        # Its digest of the sources was made otherwise, and says nothing to us.
        message = f'table "{declaration.name}" was compiled by an earlier release, in its format'
        hint = f"it serves; forkpolicy-compile {declaration.name} writes this release's"
    elif _is_another(declaration, slot.table.info.source_digest):
        message = f'table "{declaration.name}" was compiled from other contents of its sources than they have now'
        hint = f"forkpolicy-compile {declaration.name} loads the new contents; with --dry-run it shows the difference"
    if message:
        yield Diagnostic(declaration.path, declaration.line, 0, message, hint=hint, severity="warning")


def _of_source(declaration: TableDeclaration, at: int) -> Iterator[Diagnostic]:
    try:
        source = open_source(declaration, at)
    except ConfigError as error:
        yield from error.diagnostics
        return
    if isinstance(source, MmdbSource):
        yield from _of_database(source, declaration, at)
    elif isinstance(source, TextSource | CsvSource) and source.path != STDIN:
        why = _why_unreadable(Path(source.path))
        if why:
            yield diagnostic_at(declaration, at, why)


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


def _is_another(declaration: TableDeclaration, digest: str) -> bool:
    """Whether the sources, read now, are not those of the digest, whatever the options of that compile were."""
    if any(source == STDIN or source.startswith("sql:") for source in declaration.sources):
        return False
    every = [Options(skip_bad=skip, allow_wide=wide).flags for skip, wide in product((False, True), repeat=2)]
    try:
        return digest not in digest_sources(declaration, *every)
    except (ConfigError, OSError, ValueError):
        return False
