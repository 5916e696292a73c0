"""The tables of the policy: declared in its files, served by workers, looked up by this process.

What workers serve is what the server reports. A table is opened here when somebody looks something up, and stays open.
For all threads. Raises ConfigError where the policy cannot be read, TableError.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy import expiry
from forkpolicy.compile.sources.registry import TextSource, open_source, with_whole_queries
from forkpolicy.compile_failures import failures
from forkpolicy.console.tables.expiring import expiring
from forkpolicy.errors import ConfigError
from forkpolicy.feed_copies import notes_of
from forkpolicy.loading import table_path
from forkpolicy.secrets import masked
from forkpolicy.tables.live_table import LiveTable
from forkpolicy.tables.looking_up import look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forkpolicy.console.tables.expiring import Expiring
    from forkpolicy.feed_copies import FeedNote
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.status import Status, TableStatus
    from forkpolicy.tables.format import Entry


@dataclass(frozen=True, slots=True)
class Shown:
    """One table. `versions`: that workers serve, more than one while they change over; `entries`, `created_s`: None
    where no worker serves it; `refused`: why workers do not load the file in place; `failed`, `failed_s`: why the last
    compile failed, and when; `expires`: the last day of the entry that expires first.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    where: str
    may_shrink: bool
    versions: tuple[str, ...]
    entries: int | None
    created_s: float | None
    refused: str
    failed: str
    failed_s: float | None
    expires: str
    expires_soon: bool
    is_expired: bool

    @property
    def state(self) -> str:
        """In a few words; empty: nothing is wrong with it."""
        if self.refused:
            return "not loaded"
        if self.failed:
            return "its last compile failed"
        if self.is_expired:
            return "has expired entries"
        return "entries expire soon" if self.expires_soon else ""


def shown_tables(loaded: Loaded | None, status: Status | None, directory: str) -> list[Shown]:
    """What is declared and what is served; `loaded` and `status` are None where they cannot be had."""
    declared = dict(loaded.declarations) if loaded else {}
    served: dict[str, list[TableStatus]] = {}
    for worker in status.workers if status else ():
        for table in worker.tables:
            served.setdefault(table.name, []).append(table)
    failed = failures(Path(directory))
    return [
        _shown(name, declared.get(name), served.get(name, []), failed.get(name))
        for name in dict.fromkeys([*declared, *served])
    ]


def _shown(name: str, declared: TableDeclaration | None, served: Sequence[TableStatus], failure: object) -> Shown:
    newest = max(served, key=lambda each: each.created, default=None)
    expires = newest.expires if newest else ""
    return Shown(
        name=name,
        kind=declared.kind if declared else newest.kind if newest else "",
        sources=tuple(masked(each) for each in with_whole_queries(declared).sources) if declared else (),
        where=f"{declared.path}:{declared.line}" if declared else "",
        may_shrink=bool(declared and declared.may_shrink),
        versions=tuple(sorted({each.version for each in served if each.version})),
        entries=newest.entries if newest and newest.version else None,
        created_s=newest.created if newest and newest.version else None,
        refused=next((each.refused for each in served if each.refused), ""),
        failed=str(getattr(failure, "reason", "")),
        failed_s=getattr(failure, "at", None),
        expires=expires,
        expires_soon=expiry.is_soon(expires, expiry.today()),
        is_expired=expiry.is_over(expires, expiry.today()),
    )


class Lookups:
    """`load` has the current policy; it raises ConfigError."""

    def __init__(self, load: Callable[[], Loaded]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._open: dict[str, LiveTable] = {}

    def look_up(self, name: str, keys: Sequence[str]) -> Entry | None:
        """What a table has for keys. Raises KeyError for an unknown table, UsageError for the wrong number of keys."""
        loaded = self._load()
        declared = loaded.declarations[name]
        wanted = LiveTable(
            name,
            loaded.tables[name].kind,
            table_path(loaded.settings.tables, name),
            loaded.settings.mail.recipient_delimiter,
        )
        # Cursors of an open table are nobody else's meanwhile.
        with self._lock:
            table = self._open.get(name)
            if table is None or _identity(table) != _identity(wanted):
                if table:
                    table.close()
                table = self._open[declared.name] = wanted
            return look_up(table, keys)

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            for table in self._open.values():
                table.close()
            self._open.clear()


def _identity(table: LiveTable) -> tuple[str, str, str]:
    return table.kind, table.path, table.delimiter


def feeds_of(directory: str, name: str) -> list[FeedNote]:
    """The lists of other servers that a table is made of."""
    return list(notes_of(Path(directory), [name]))


def expiring_in(declared: TableDeclaration) -> tuple[list[Expiring], list[str]]:
    """Entries of its text files that expire soon, and what was not looked at."""
    return expiring(dict.fromkeys(_text_files(declared)), expiry.today())


def _text_files(declared: TableDeclaration) -> Iterator[str]:
    whole = with_whole_queries(declared)
    for index in range(len(whole.sources)):
        try:
            source = open_source(whole, index)
        except ConfigError:
            continue
        if isinstance(source, TextSource) and source.path.startswith("/"):
            yield source.path
