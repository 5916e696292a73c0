"""Days that are over: kept for so long, then removed with their lines; how often each rule fired stays 400 days.

Roll-ups are of ten minutes and have no address. They are copied before their day is removed. Raises sqlite3.Error and
OSError.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from forkpolicy.history.damaged import all_aside
from forkpolicy.history.schema import day_path, days_in, is_of_the_future, raw_path

ROLLUPS: Final = "rollups.sqlite"
KEEP_ROLLUPS_DAYS: Final = 400
_DAY_S: Final = 86_400
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS rollups (slot INTEGER, line TEXT, verb TEXT, acls TEXT, decisions INTEGER NOT NULL, "
    "PRIMARY KEY (slot, line, verb, acls)) WITHOUT ROWID"
)


def remove_old_days(directory: str, keep_days: int, now_s: float) -> list[str]:
    """Remove what is older than `keep_days` whole days; the days that are gone. A day of the future is as old as its
    file: a wrong clock has made it.
    """
    today = datetime.fromtimestamp(now_s, UTC).date()
    oldest = str(today - timedelta(days=keep_days))
    for day, aside in all_aside(directory):
        if day < oldest or (is_of_the_future(day, now_s) and _written_on(aside, now_s) < oldest):
            aside.unlink(missing_ok=True)
    old = [
        day
        for day in days_in(directory, now_s)
        if day < oldest
        or (is_of_the_future(day, now_s) and _written_on(Path(day_path(directory, day)), now_s) < oldest)
    ]
    if old:
        with closing(sqlite3.connect(f"{directory}/{ROLLUPS}", isolation_level=None)) as connection:
            connection.execute(_TABLE)
            for day in old:
                try:
                    _keep_rollups(connection, day_path(directory, day))
                except sqlite3.DatabaseError as error:
                    # Nothing can be read of it, but an address might be: it goes like any other.
                    if error.sqlite_errorcode & 0xFF not in _DAMAGED:
                        raise
                # The lines first: a day without them is found again here, lines without a day would stay.
                Path(raw_path(directory, day)).unlink(missing_ok=True)
                Path(day_path(directory, day)).unlink(missing_ok=True)
            slots_a_day = 24 * 6
            first_kept = int(now_s) // 600 - KEEP_ROLLUPS_DAYS * slots_a_day
            connection.execute("DELETE FROM rollups WHERE slot < ?", (first_kept,))
    return old


def _written_on(path: Path, now_s: float) -> str:
    """The day of the last change of a file, from now on today's where the clock was wrong then, too."""
    changed_s = path.stat().st_mtime
    if changed_s > now_s + _DAY_S:
        os.utime(path, (now_s, now_s))
        changed_s = now_s
    return str(datetime.fromtimestamp(changed_s, UTC).date())


def _keep_rollups(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("ATTACH ? AS day", (path,))
    try:
        # A day of a process that was killed, or had no room, while it made it: nothing is in it.
        if not connection.execute("SELECT 1 FROM day.sqlite_master").fetchone():
            return
        connection.execute(
            "INSERT OR REPLACE INTO rollups SELECT slot, line, verb, acls, decisions "
            "FROM day.rollups JOIN day.rules ON n = rule"
        )
    finally:
        connection.execute("DETACH day")
