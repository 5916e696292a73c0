"""The text sources of the console's tables as targets of the engine: checked by the compile's own functions, compiled,
taken by the server.

A table is the console's where all its sources are plain texts below the console's directory of tables.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Final

from forkpolicy import expiry
from forkpolicy.compile.directory import TablesDirectory
from forkpolicy.compile.result import Options
from forkpolicy.compile.sources.registry import STDIN, TextSource, open_source
from forkpolicy.compile.table import compile_table
from forkpolicy.console.change.compiled import CompiledTable
from forkpolicy.console.change.drafts import Checked
from forkpolicy.console.change.text_files import MAX_BYTES
from forkpolicy.errors import CannotWriteError, ConfigError, Diagnostic
from forkpolicy.gateway.lists import LISTS
from forkpolicy.loading import table_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from forkpolicy.console.change.engine import Force
    from forkpolicy.console.change.rules import Server
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.settings import Settings

WAIT_S: Final = 10.0


def sources_of(declaration: TableDeclaration, directory: Path) -> list[Path]:
    """The sources of a table if it is the console's, else none."""
    found = []
    for at in range(len(declaration.sources)):
        try:
            source = open_source(declaration, at)
        except ConfigError:
            return []
        is_text = isinstance(source, TextSource) and not source.url and source.path != STDIN
        if not is_text or not isinstance(source, TextSource) or not _is_below(Path(source.path), directory):
            return []
        found.append(Path(source.path))
    return found


def _is_below(path: Path, directory: Path) -> bool:
    return ".." not in path.parts and path.is_relative_to(directory)


@dataclass(frozen=True, slots=True)
class Expiring:
    """An entry that ends: its line, what it says, its last day, whether that is over."""

    line: int
    text: str
    until: date
    is_over: bool


def expiring_entries(text: str, today: date) -> list[Expiring]:
    """Those of a text, in its order. What the compile would refuse is left out."""
    return list(_expiring(text, today))


def _expiring(text: str, today: date) -> Iterator[Expiring]:
    for number, line in enumerate(text.splitlines(), 1):
        for word in line.split():
            if word.startswith(expiry.UNTIL) and line.lstrip()[:1] not in ("#", ";"):
                try:
                    until = expiry.parse_until(word[len(expiry.UNTIL) :])
                except ValueError:
                    continue
                yield Expiring(number, line.strip(), until, until < today)


@dataclass(frozen=True, slots=True)
class TableSource:
    """One source of a console table."""

    path: Path
    declaration: TableDeclaration
    settings: Settings
    server: Server

    def check(self, text: str) -> Checked:
        """The table, compiled aside with that text: it shrinks no more than a compile allows."""
        if len(text) > MAX_BYTES:
            return _wrong(str(self.path), f"has {len(text):,} characters: at most {MAX_BYTES:,} are taken")
        try:
            with tempfile.TemporaryDirectory(prefix="forkpolicy-console-") as folder:
                return self._check_in(Path(folder), text)
        except (OSError, UnicodeEncodeError, CannotWriteError) as error:
            return _wrong(str(self.path), f"cannot be checked: {error}")

    def _check_in(self, folder: Path, text: str) -> Checked:
        draft = folder / "draft"
        draft.write_text(text, "utf-8", newline="")
        whole = self.declaration
        sources = [Path(whole.path).parent / each for each in whole.sources]
        own = [draft if each == self.path else each for each in sources]
        aside = whole._replace(sources=tuple(map(str, own)))
        directory = TablesDirectory(folder)
        present = Path(table_path(self.settings.tables, whole.name))
        # Without it the compile itself says that the table would shrink.
        with suppress(FileNotFoundError, PermissionError):
            copyfile(present, directory.table(whole.name))
        options = Options(dry_run=True, recipient_delimiter=self.settings.mail.recipient_delimiter)
        found = compile_table(aside, directory, options)
        named = [self._named(each, str(draft)) for each in found.diagnostics]
        errors = [each for each in named if each.severity == "error"]
        mistakes = tuple(each for each in errors if each.path == str(self.path))
        warnings = tuple(each for each in named if each.severity == "warning")
        return Checked(mistakes, tuple(each for each in errors if each not in mistakes), warnings, None)

    def _named(self, diagnostic: Diagnostic, draft: str) -> Diagnostic:
        """About the file, not about where the draft stood."""
        path = str(self.path) if diagnostic.path == draft else diagnostic.path
        return replace(diagnostic, path=path, message=diagnostic.message.replace(draft, self.path.name))

    def offer(self) -> Force:
        """Have the table compiled, and wait until the server serves it."""
        return CompiledTable(self.declaration, self.settings, self.server).offer(WAIT_S)


def _wrong(path: str, why: str) -> Checked:
    return Checked((Diagnostic(path, 0, 0, why),), (), (), None)


def console_tables(loaded: Loaded, server: Server) -> dict[str, list[TableSource]]:
    """The console's tables of a policy by their names, each with its sources; but for users' lists, which have a page
    of their own and are too long to be kept whole with each change.
    """
    directory = loaded.settings.console.tables
    found = {}
    for name, declaration in loaded.declarations.items():
        paths = sources_of(declaration, directory)
        if paths and name not in LISTS:
            found[name] = [TableSource(path, declaration, loaded.settings, server) for path in paths]
    return found
