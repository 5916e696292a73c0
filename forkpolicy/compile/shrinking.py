"""Which tables may lose entries. A table that loses more than half is most often a failed download, and is refused.

--allow-shrink accepts every loss; --interfaces-may-shrink accepts that of networks of this machine, which come and go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.compile.sources.registry import is_of_kernel

if TYPE_CHECKING:
    from forkpolicy.compile.result import Options
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.tables.reader import Table

_SMALLEST_PART: Final = 0.5

HINT: Final = "a loss of more than half is most often a failed download: --allow-shrink accepts it"


class Shrinking:
    """The rule for one table. Its checks return a message where a loss is refused, else an empty text."""

    def __init__(self, declaration: TableDeclaration, options: Options) -> None:
        self._sources = declaration.sources
        self._allows_all, self._allows_interfaces = options.allow_shrink, options.interfaces_may_shrink

    def may_be_empty(self) -> bool:
        """Whether the table may have no entry."""
        return self._allows_all or any(map(self.may_lose, range(len(self._sources))))

    def may_lose(self, source: int) -> bool:
        """Whether one of its sources may have no entry."""
        return self._allows_interfaces and is_of_kernel(self._sources[source])

    def check_count(self, entries: int, before: Table | None) -> str:
        """While the table is not finished: its entries against those of the table in use."""
        if before is None or self._allows_all or self._allows_interfaces:
            return ""
        return _compared(entries, before.info.entries)

    def check_lists(self, table: Table, before: Table | None) -> str:
        """The finished table without networks of this machine, where only those may be lost."""
        if before is None or not self._allows_interfaces:
            return ""
        return _compared(_entries_of_lists(table), _entries_of_lists(before))


def _compared(entries: int, before: int) -> str:
    return f"{entries} entries, and the table in use has {before}" if entries < before * _SMALLEST_PART else ""


def _entries_of_lists(table: Table) -> int:
    """How many entries are not of this machine's interfaces."""
    of_kernel = {name for name in table.info.sources if is_of_kernel(name)}
    return sum(table.entry(raw).source not in of_kernel for _, raw in table.entries())
