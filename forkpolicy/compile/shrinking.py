"""Which tables may lose entries. A table that loses more than half is most often a failed download, and is refused.

--allow-shrink accepts every loss, `may-shrink` in the declaration those of one table, and --interfaces-may-shrink those
of networks of this machine, which come and go.
Entries that have expired since are no loss: a table of them alone becomes empty, since its source says so and a table
that stays would serve them on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.compile.diagnostics import ACCEPTED_BY
from forkpolicy.compile.sources.registry import is_of_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.compile.expiring import Expiring
    from forkpolicy.compile.result import Options
    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.tables.reader import Table

_SMALLEST_PART: Final = 0.5

HINT: Final = f"a loss of more than half is most often a failed download: {ACCEPTED_BY}"


class Shrinking:
    """The rule for one table. Its checks return a message where a loss is refused, else an empty text."""

    def __init__(self, declaration: TableDeclaration, options: Options) -> None:
        self._options = options
        self._sources = declaration.sources
        self._allows_all = options.allow_shrink or declaration.may_shrink
        self._allows_interfaces = options.interfaces_may_shrink

    def may_be_empty(self) -> bool:
        """Whether the table may have no entry."""
        return self._allows_all or any(map(self._may_lose, range(len(self._sources))))

    def refuse_sources(
        self, empty: Mapping[int, Diagnostic], worthless: Mapping[int, Diagnostic]
    ) -> Iterator[Diagnostic]:
        """Those that count, of the diagnostics of empty sources and of sources with only wrong lines."""
        yield from (each for at, each in empty.items() if not self._may_lose(at))
        if self._options.skip_bad and not self._options.allow_shrink:
            # Nobody edits a list until all its lines are wrong: may-shrink does not accept it.
            yield from worthless.values()

    def _may_lose(self, source: int) -> bool:
        return self._allows_all or (self._allows_interfaces and is_of_kernel(self._sources[source]))

    def check_count(self, entries: int, before: Table | None, expiring: Expiring) -> str:
        """While the table is not finished: its entries against those of the table in use."""
        if before is None or self._allows_all or self._allows_interfaces:
            return ""
        return _compared(entries, before.info.entries, expiring.expired_since(before.info.created))

    def check_lists(self, table: Table, before: Table | None, expiring: Expiring) -> str:
        """The finished table without networks of this machine, where only those may be lost."""
        if before is None or self._allows_all or not self._allows_interfaces:
            return ""
        expired = expiring.expired_since(before.info.created)
        return _compared(_entries_of_lists(table), _entries_of_lists(before), expired)


def _compared(entries: int, before: int, expired: int) -> str:
    if entries + expired >= before * _SMALLEST_PART:
        return ""
    more = f" (of which {expired} have expired)" if expired else ""
    return f"{entries} entries, and the table in use has {before}{more}"


def _entries_of_lists(table: Table) -> int:
    """How many entries are not of this machine's interfaces."""
    of_kernel = {name for name in table.info.sources if is_of_kernel(name)}
    return sum(table.entry(raw).source not in of_kernel for _, raw in table.entries())
