"""The tables of the generation that a worker serves: opened after the fork, and loaded again when their files change,
without a reload and without a request that waits: a file is verified in a thread and swapped in the loop.

Raises nothing: a table that cannot be used is logged, and the previous one stays in use.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import gevent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.tables.live_table import LiveTable
    from forkpolicy.worker.engine import Engine
    from forkpolicy.worker.seldom_log import EventLog


class TableRefresh:
    """Those of one worker."""

    def __init__(self, engine: Engine, log: EventLog) -> None:
        self._engine = engine
        self._log = log
        self._refreshing = False

    def open(self, good: Mapping[str, int]) -> list[str]:
        """Open every table; after the fork, before the first request. `good` has, by path, descriptors of the last good
        files of the service, for where the file in place is not good; they are closed. Returns why tables of the policy
        cannot be had at all: what needs them fails until they can.
        """
        for table in self._engine.loaded.all_tables:
            table.refresh()
            if table.table is None and table.path in good:
                table.fall_back(os.dup(good[table.path]))
            self._log_refused(table)
        for fd in good.values():
            os.close(fd)
        self._engine.announce()
        return [table.refused for table in self._engine.loaded.tables.values() if table.table is None]

    def refresh(self) -> None:
        """Load changed tables. Called by every beat."""
        if not self._refreshing and any(table.changed() for table in self._engine.loaded.all_tables):
            self._refreshing = True
            gevent.spawn(self._refresh)

    def _refresh(self) -> None:
        try:
            for table in self._engine.loaded.all_tables:
                self._refresh_one(table)
            self._engine.announce()
        finally:
            self._refreshing = False

    def _refresh_one(self, table: LiveTable) -> None:
        refused = table.refused
        file = gevent.get_hub().threadpool.apply(table.prepare)
        if file and table.take(file):
            self._log.event("info", "table loaded", table=table.name, version=table.version)
        elif table.refused != refused:
            self._log_refused(table)

    def _log_refused(self, table: LiveTable) -> None:
        if table.refused:
            in_use = table.version or "none: what needs it is answered with on_error"
            self._log.event("error", "table refused", table=table.name, reason=table.refused, in_use=in_use)
