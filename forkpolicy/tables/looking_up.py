"""A look at what an open table has for keys that a person typed: the entry with its source and line.

Raises UsageError where there are not as many keys as the table needs, TableError where nothing serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.errors import TableError, UsageError
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.kinds.columns import COLUMNS
from forkpolicy.tables.kinds.kind import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.tables.format import Entry
    from forkpolicy.tables.live_table import LiveTable


def look_up(table: LiveTable, keys: Sequence[str]) -> Entry | None:
    """The entry for these keys; its file is loaded again if it changed."""
    table.refresh()
    if table.table is None:
        raise TableError(table.refused)
    raw = table.find(*asked(table, keys))
    return None if raw is None else table.entry(raw)


def asked(table: LiveTable, keys: Sequence[str]) -> list[str]:
    """What is looked up for the keys."""
    columns = KINDS[table.kind].columns
    if KINDS[table.kind].takes_any_text:
        # As a policy asks it for several attributes together.
        keys = [" ".join(keys)]
    if len(keys) != max(1, len(columns)):
        wanted = f"one key for each column ({', '.join(columns)})" if columns else "one key"
        raise UsageError(f'table "{table.name}" is of kind {table.kind}: expected {wanted}, got {len(keys)}')
    kinds = [COLUMNS[column].kind for column in columns] or [KINDS[table.kind]]
    views = [kind.asked_for.get(Subject.TEXT) for kind in kinds]
    return [view(key) if view else key for view, key in zip(views, keys, strict=True)]
