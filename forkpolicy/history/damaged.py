"""Days whose file is damaged, or of another version: set aside under another name, so that the day begins again and
others go on.

`2026-11-28.sqlite` becomes `2026-11-28.damaged-1795867200.sqlite` (the time in seconds), its lines and what SQLite left
next to it likewise. An administrator may look at them; they go with the days of their age. Raises OSError,
sqlite3.Error.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.history.lines import Gap, milliseconds
from forkpolicy.history.raw_lines import count_lines
from forkpolicy.history.schema import VERSION, day_path, raw_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ASIDE: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.damaged-\d+\.(sqlite|lines|sqlite-journal)")
# What SQLite says of a file's content; an error is also a table that is not there.
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def set_damaged_aside(directory: str, days: Iterable[str], now_s: float) -> list[str]:
    """Set aside those of the days whose file is damaged; their new paths."""
    damaged = [day for day in days if _is_damaged(day_path(directory, day))]
    return [_set_aside(directory, day, int(now_s)) for day in damaged]


def gap_of(path: Path) -> Gap:
    """The decisions that are missing with a file that was set aside, as far as its lines can be counted."""
    reason = f"the file of the day was damaged or of another version, and was set aside as {path.name}"
    lines = count_lines(str(path.with_suffix(".lines")))
    return Gap(milliseconds(f"{path.name[:10]}T00:00:00.000Z"), lines, reason)


def all_aside(directory: str) -> Iterator[tuple[str, Path]]:
    """Each file that was set aside, and its day."""
    for path in Path(directory).iterdir():
        if found := ASIDE.fullmatch(path.name):
            yield found[1], path


def _set_aside(directory: str, day: str, now_s: int) -> str:
    aside = _begun(directory, day) or f"{directory}/{day}.damaged-{now_s}"
    path = day_path(directory, day)
    # The lines first: a new file of the day would empty them, and a journal would be rolled back into it.
    for before, after in (
        (raw_path(directory, day), f"{aside}.lines"),
        (f"{path}-journal", f"{aside}.sqlite-journal"),
        (path, f"{aside}.sqlite"),
    ):
        if Path(before).exists():
            Path(before).rename(after)
    return f"{aside}.sqlite"


def _begun(directory: str, day: str) -> str:
    """The name under which a process that was killed has set aside the lines alone; empty: none has."""
    lines = (path for of, path in all_aside(directory) if of == day and path.suffix == ".lines")
    alone = [path for path in lines if not path.with_suffix(".sqlite").exists()]
    return str(alone[0].with_suffix("")) if alone and not Path(raw_path(directory, day)).exists() else ""


def _is_damaged(path: str) -> bool:
    if not Path(path).exists() or not Path(path).stat().st_size:
        return False
    try:
        with closing(sqlite3.connect(path)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            has_meta = connection.execute("SELECT raw_bytes FROM meta WHERE version = ?", (VERSION,)).fetchone()
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF in _DAMAGE:
            return True
        raise
    return found != "ok" or not has_meta
