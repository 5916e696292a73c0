"""Writes decisions: the days that lines belong to, and how far the log was read, in one transaction.

One connection has the file of positions and, attached, the days; SQLite commits all of them or none (its
super-journal), so what was read is neither lost nor doubled, whenever this process is killed. Compressed lines are on
disk before the commit that knows them. Not in WAL mode: others read a day without write rights, and without this
process.

Raises HistoryError where another one writes, sqlite3.Error and OSError: the caller rolls back (`forget`) and tries
again.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.history.damaged import all_aside, gap_of, set_damaged_aside
from forkpolicy.history.day import Day
from forkpolicy.history.lines import Decision, Gap, Odd, Versions
from forkpolicy.history.locks import DaysLock, days_locked, lock_as_ingester
from forkpolicy.history.personal.days import finish_all_erasures
from forkpolicy.history.rollups import remove_old_days
from forkpolicy.history.schema import POSITIONS, day_of, day_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.history.lines import Line

# The day that is written, and the one before around midnight and after a pause.
_MOST_DAYS: Final = 3
# `odd`: lines that say nothing known, of whatever day they were.
_POSITIONS_TABLES: Final = """\
CREATE TABLE IF NOT EXISTS positions (file TEXT PRIMARY KEY, offset INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS odd (file TEXT NOT NULL, offset INTEGER NOT NULL, reason TEXT NOT NULL);
"""


class Store:
    """The history's directory, of one writer."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        Path(directory).mkdir(mode=0o750, parents=True, exist_ok=True)
        self._lock = lock_as_ingester(directory)
        self._days_lock = DaysLock(directory)
        with days_locked(directory):
            _roll_back(directory)
            finish_all_erasures(directory)
        self._connection = sqlite3.connect(f"{directory}/{POSITIONS}", isolation_level=None)
        self._connection.executescript(_POSITIONS_TABLES)
        self._days: dict[str, Day] = {}
        # Those that were opened, or could not be, since the last commit.
        self._touched: set[str] = set()
        self._in_transaction = False
        self._is_looked_for_aside = False

    def begin(self) -> bool:
        """Lock the days until the next commit; whether they could be. Another process may be changing them, and the
        log: what was read of it before does not count.
        """
        if not self._days_lock.take():
            return False
        if any(day.was_replaced for day in self._days.values()):
            self._close_days()
        if not self._is_looked_for_aside:
            self._note_aside()
            self._is_looked_for_aside = True
        return True

    def position(self, file: str) -> int:
        """How far a file of the log was taken in, in bytes."""
        found = self._connection.execute("SELECT offset FROM positions WHERE file = ?", (file,)).fetchone()
        return int(found[0]) if found else 0

    def add(self, file: str, lines: Sequence[tuple[int, Line]]) -> None:
        """Lines of a file, each with the offset behind it. They, and the last offset, are on disk after a commit."""
        began = 0
        days: set[str] = set()
        for at, (_, line) in enumerate(lines):
            day = self._day_of(line)
            if day and day not in days and len(days) == _MOST_DAYS:
                # Clocks that jump: SQLite has room for ten days at once.
                self._add(file, lines[began:at], days)
                began, days = at, set()
            days |= {day} if day else set()
        self._add(file, lines[began:], days)

    def _add(self, file: str, lines: Sequence[tuple[int, Line]], days: set[str]) -> None:
        self._open_days(days)
        self._begin_transaction()
        for offset, line in lines:
            match line:
                case Decision():
                    self._days[day_of(line.at_ms)].add(line)
                case Gap() | Versions():
                    self._days[day_of(line.at_ms)].note(line)
                case Odd():
                    self._connection.execute("INSERT INTO odd VALUES (?, ?, ?)", (file, offset, line.reason))
        if lines:
            self._connection.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (file, lines[-1][0]))

    @staticmethod
    def _day_of(line: Line) -> str:
        return day_of(line.at_ms) if isinstance(line, Decision | Gap | Versions) else ""

    def commit(self) -> None:
        """Keep everything that was added."""
        self._commit()
        self._touched.clear()
        self._days_lock.release()

    def _begin_transaction(self) -> None:
        if not self._in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
            self._in_transaction = True

    def _commit(self) -> None:
        if self._in_transaction:
            for day in self._days.values():
                day.flush()
            # Hardly anything comes to a day that is over.
            for name in sorted(self._days)[:-1]:
                self._days[name].settle()
            self._connection.execute("COMMIT")
            self._in_transaction = False

    def forget(self) -> None:
        """Give up what was added since the last commit."""
        if self._in_transaction:
            self._connection.execute("ROLLBACK")
            self._in_transaction = False
        self._close_days()
        self._days_lock.release()

    def mend(self, error: Exception, now_s: float) -> list[str]:
        """After an error and `forget`: set aside those days whose files are damaged, so that others go on; what was
        done, for an operator.
        """
        if not isinstance(error, sqlite3.Error):
            return []
        with days_locked(self._directory):
            moved = set_damaged_aside(self._directory, sorted(self._touched), now_s)
        self._touched.clear()
        self._is_looked_for_aside = False
        return [
            f"{path[: path.index('.damaged-')]}.sqlite is damaged or of another version: it was set aside as {path}"
            for path in moved
        ]

    def remove_old_days(self, keep_days: int, now_s: float) -> list[str]:
        """Remove what is older than `keep_days` whole days; the days that are gone."""
        return remove_old_days(self._directory, keep_days, now_s)

    def close(self) -> None:
        """Close all files; what was not committed is given up."""
        self.forget()
        self._connection.close()
        self._days_lock.close()
        os.close(self._lock)

    def _note_aside(self) -> None:
        """Keep a gap for each day that was set aside, once: also by a process that was killed before it could."""
        for day, path in sorted(all_aside(self._directory)):
            if path.suffix != ".sqlite":
                continue
            self._open_days({day})
            if not self._days[day].has_gap(path.name):
                self._begin_transaction()
                self._days[day].note(gap_of(path))
        self._commit()

    def _open_days(self, days: set[str]) -> None:
        missing = days - self._days.keys()
        if not missing:
            return
        # SQLite attaches nothing within a transaction.
        self._commit()
        self._touched |= missing
        if len(self._days) + len(missing) > _MOST_DAYS:
            self._close_days()
            missing = days
        for day in sorted(missing):
            try:
                self._days[day] = Day(self._connection, self._directory, day)
            except sqlite3.Error as error:
                raise sqlite3.OperationalError(f"{day_path(self._directory, day)}: {error}") from error

    def _close_days(self) -> None:
        for day in self._days.values():
            day.close()
        self._days = {}


def _roll_back(directory: str) -> None:
    """Undo what a writer that was killed has not committed, in each file: those who only read cannot, and a day that is
    over is opened by nobody else.
    """
    for journal in Path(directory).glob("*.sqlite-journal"):
        path = str(journal).removesuffix("-journal")
        with contextlib.suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
