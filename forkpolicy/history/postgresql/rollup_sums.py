"""How often rules fired, summed by slots, from PostgreSQL: over all hosts.

A day has no stamp there. It is read again while its decisions may still arrive, and each ten minutes after that, since
the ingester of a host that was away brings them later. Raises HistoryError.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Final

from forkpolicy.history.postgresql.access import connected, in_words
from forkpolicy.history.postgresql.schema import has_tables
from forkpolicy.history.rollup_sums import SLOTS_A_DAY, Fired, first_slot, slot_of

if TYPE_CHECKING:
    import psycopg

    from forkpolicy.history_settings import HistorySettings

_FRESH_S: Final = 5.0
_SETTLED_S: Final = 600.0
_SUMS: Final = """\
SELECT slot, line, verb, sum(decisions)::bigint, acls FROM forkpolicy.rollups JOIN forkpolicy.rules ON n = rule
WHERE slot BETWEEN %s AND %s GROUP BY slot, line, verb, acls"""


class PostgresqlRollups:
    """It connects when it is asked, and stays connected."""

    def __init__(self, settings: HistorySettings) -> None:
        self._settings = settings
        self._open: psycopg.Connection | None = None

    def stamp(self, day: str) -> object:
        """Another one each five seconds for the last two days, each ten minutes for others."""
        is_over = first_slot(day) + 2 * SLOTS_A_DAY < slot_of(time.time())
        return int(time.time() // (_SETTLED_S if is_over else _FRESH_S))

    def fired(self, day: str, first: int = 0, last: int = 1 << 62) -> list[Fired]:
        """What fired on a day, in slots from the first to the last."""
        begin = first_slot(day)
        slots = (max(first, begin), min(last, begin + SLOTS_A_DAY - 1))
        with in_words(self._settings.url):
            connection = self._connected()
            return [Fired(*row) for row in connection.execute(_SUMS, slots)] if has_tables(connection) else []

    def taken(self) -> set[int]:
        """Of the files of all hosts."""
        sql = 'SELECT "offset" FROM forkpolicy.positions'
        with in_words(self._settings.url):
            connection = self._connected()
            return {offset for (offset,) in connection.execute(sql)} if has_tables(connection) else set()

    def _connected(self) -> psycopg.Connection:
        if not self._open or self._open.closed:
            self._open = connection = connected(self._settings, writes=False)
            weakref.finalize(self, connection.close)
        return self._open
