"""One day while it is written: decisions as rows, what each needs in other tables, and their lines beside the file.

Rows wait for `flush`, numbers of texts are remembered. The store (store.py) commits. Raises sqlite3.Error and OSError.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Final

from forkpolicy.history.lines import Gap
from forkpolicy.history.raw_lines import RawWriter
from forkpolicy.history.recent import MOST, settle
from forkpolicy.history.schema import ID_PART_BITS, TABLES, VERSION, day_path, raw_path
from forkpolicy.history.texts import Texts
from forkpolicy.tables.keys import fold_address, ip_key

if TYPE_CHECKING:
    from forkpolicy.history.lines import Decision, Versions

# Of pages in memory: what is settled touches thousands, and each that does not fit is written more than once.
_CACHE_KIB: Final = 64 << 10
SLOT_MS: Final = 600_000
_INSERT: Final = "INSERT INTO {db}.recent VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"


class Day:
    """One day of a store, attached as `db`."""

    def __init__(self, connection: sqlite3.Connection, directory: str, day: str) -> None:
        self._connection, self._db = connection, f"d{day.replace('-', '')}"
        self._path = day_path(directory, day)
        connection.execute(f"ATTACH ? AS {self._db}", (self._path,))
        try:
            self._begin(raw_path(directory, day))
        except (sqlite3.Error, OSError):
            # Nothing of it stays attached.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            connection.execute(f"DETACH {self._db}")
            raise

    def _begin(self, raw: str) -> None:
        connection = self._connection
        if not connection.execute(f"SELECT 1 FROM {self._db}.sqlite_master").fetchone():  # noqa: S608
            self._create()
        sql = f"SELECT raw_bytes FROM {self._db}.meta WHERE version = ?"  # noqa: S608
        found = connection.execute(sql, (VERSION,)).fetchone()
        if not found:
            raise sqlite3.DatabaseError(f"it is not a day of version {VERSION}")
        (raw_bytes,) = found
        self._raw = RawWriter(raw, raw_bytes)
        connection.execute(f"PRAGMA {self._db}.cache_size = -{_CACHE_KIB}")
        self._next = max(self._last("decisions"), self._last("recent")) + 1
        (self._recent,) = connection.execute(f"SELECT count(*) FROM {self._db}.recent").fetchone()  # noqa: S608
        self._texts = Texts(connection, self._db)
        self._rollups: dict[tuple[int, int], int] = {}
        self._rows: list[tuple[object, ...]] = []
        self._inode = os.stat(self._path).st_ino  # noqa: PTH116 - a path as text

    @property
    def was_replaced(self) -> bool:
        """Whether another process has written the file anew, or removed it: what we remember of it is wrong."""
        try:
            return os.stat(self._path).st_ino != self._inode  # noqa: PTH116 - a path as text
        except FileNotFoundError:
            return True

    def has_gap(self, name: str) -> bool:
        """Whether a gap's reason ends with a name."""
        sql = f"SELECT 1 FROM {self._db}.gaps WHERE reason LIKE '%' || ?"  # noqa: S608
        return self._connection.execute(sql, (name,)).fetchone() is not None

    def add(self, decision: Decision) -> None:
        """One decision."""
        request = decision.request
        verb = decision.action.split(" ", 1)[0]
        rule = self._texts.rule(decision.rule, verb, decision.acls)
        site = self._texts.site(decision.host, decision.in_force)
        client = ip_key(request.get("client_address", ""))
        block, line = self._raw.add(decision.raw)
        self._rows.append(
            (
                self._next,
                decision.id,
                decision.at_ms,
                rule,
                site,
                client,
                # The null sender is one: "" is known, where no address is not.
                _folded(decision.sender),
                _folded(request.get("recipient") or None),
                _folded(request.get("sasl_username") or None),
                request.get("queue_id") or None,
                request.get("instance") or None,
                block,
                line,
                int(decision.is_cut),
                int(decision.is_odd),
            )
        )
        self._next += 1
        slot = decision.at_ms // SLOT_MS
        self._rollups[slot, rule] = self._rollups.get((slot, rule), 0) + 1

    def note(self, line: Gap | Versions) -> None:
        """Decisions that are missing, or what an id stands for."""
        if isinstance(line, Gap):
            self._connection.execute(f"INSERT INTO {self._db}.gaps VALUES (?, ?, ?)", line)  # noqa: S608
        else:
            values = (line.id, line.host, line.policy, line.tables, line.at_ms)
            self._connection.execute(f"INSERT OR IGNORE INTO {self._db}.versions VALUES (?, ?, ?, ?, ?)", values)  # noqa: S608

    def flush(self) -> None:
        """Everything that the commit will keep: to the transaction, and the lines to disk."""
        if not self._rows:
            return
        db, execute = self._db, self._connection.executemany
        execute(_INSERT.format(db=db), self._rows)
        self._recent += len(self._rows)
        if self._recent >= MOST:
            self.settle()
        added = ((slot, rule, count) for (slot, rule), count in self._rollups.items())
        execute(
            f"INSERT INTO {db}.rollups VALUES (?, ?, ?) "  # noqa: S608
            "ON CONFLICT DO UPDATE SET decisions = decisions + excluded.decisions",
            added,
        )
        self._connection.execute(f"UPDATE {db}.meta SET raw_bytes = ?", (self._raw.flush(),))  # noqa: S608
        self._rows, self._rollups = [], {}

    def settle(self) -> None:
        """Give the recent decisions their places in the indexes."""
        if self._recent:
            settle(self._connection, self._db, self._texts)
            self._recent = 0

    def close(self) -> None:
        """Detach it."""
        self._raw.close()
        self._connection.execute(f"DETACH {self._db}")

    def _create(self) -> None:
        meta = f"INSERT INTO {self._db}.meta VALUES ({VERSION}, 0);"  # noqa: S608
        self._connection.executescript(f"BEGIN; {TABLES.format(db=self._db, part_bits=ID_PART_BITS)} {meta} COMMIT;")

    def _last(self, table: str) -> int:
        (last,) = self._connection.execute(f"SELECT max(n) FROM {self._db}.{table}").fetchone()  # noqa: S608
        return last or 0


def _folded(address: str | None) -> str | None:
    """An address as it is searched for."""
    return None if address is None else fold_address(address)
