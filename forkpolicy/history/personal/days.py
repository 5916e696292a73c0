"""Forgets a person in the file of a day and in its lines, while others go on to find theirs.

The day is written anew without what is to go, and takes the old one's name when it is complete: a file from which rows
were deleted keeps remnants of them where its pages were once split, whatever `secure_delete` says. Lines are compressed
in blocks. A block that changes is written anew behind the others, and the new day, which knows its new place, lists the
place of the old one; that is overwritten as soon as the new day has its name. So whenever this process is killed, a day
is as it was before or as it is afterwards, and what is left to overwrite is done by the next ingester or `forget`.

The caller has the lock of the days. Raises sqlite3.Error and OSError.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.personal.person import Forgotten
from forkpolicy.history.query import ADDRESS_COLUMNS
from forkpolicy.history.raw_lines import block_of, blocks_at, overwrite_block
from forkpolicy.history.recent import settle
from forkpolicy.history.schema import day_path, days_in, raw_path
from forkpolicy.history.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.history.personal.person import Person

NEW: Final = ".new"
# Places of blocks that are to be overwritten.
_ERASURES: Final = "erasures"
_REST: Final = "coalesce({0} NOT IN (SELECT n FROM gone), 1)"
_USED: Final = " UNION ".join(f"SELECT {column} FROM new.decisions" for column in ADDRESS_COLUMNS)  # noqa: S608
# What a table keeps, and what a column becomes; else everything, as it is.
_KEPT: Final = {
    "decisions": " AND ".join(_REST.format(column) for column in ADDRESS_COLUMNS),
    "names": f"n IN ({_USED}) OR n IN (SELECT domain FROM main.names WHERE n IN ({_USED}))",  # noqa: S608
    "clients": "n IN (SELECT client FROM new.decisions)",
}
_MOVED: Final = "coalesce((SELECT moves.{0} FROM moves WHERE place = old.block AND number = old.line), old.{0})"
_COLUMNS: Final = {("decisions", each): _MOVED.format(each) for each in ("block", "line")}


class _Change(NamedTuple):
    """Of a block at `place`, of `length` bytes: what its lines become (None: it goes), by their numbers until now."""

    place: int
    length: int
    lines: list[bytes | None]
    blotted: int


class _Move(NamedTuple):
    """A line until now, and from now on."""

    place: int
    number: int
    block: int
    line: int


def forget_in_day(directory: str, day: str, person: Person) -> Forgotten:
    """Forget a person in one day."""
    path, raw = day_path(directory, day), raw_path(directory, day)
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute("BEGIN IMMEDIATE")
        settle(old, "main", Texts(old, "main"))
        old.execute("COMMIT")
        numbers = person.numbers(old)
        gone = _places(old, numbers)
        (raw_bytes,) = old.execute("SELECT raw_bytes FROM meta").fetchone()
        places = [place for (place,) in old.execute("SELECT DISTINCT block FROM decisions ORDER BY block")]
        changes = list(_changes(raw, places, raw_bytes, gone, person))
    if not changes and not numbers:
        return Forgotten(0, 0)
    moves, end = _append(raw, raw_bytes, changes) if changes else ([], raw_bytes)
    Path(f"{path}{NEW}").unlink(missing_ok=True)
    _write_anew(path, numbers, changes, moves, end)
    finish_erasures(directory, day)
    return Forgotten(sum(map(len, gone.values())), sum(each.blotted for each in changes))


def finish_erasures(directory: str, day: str) -> None:
    """Overwrite what a day no longer knows of its lines; what was killed before it could is done here."""
    with closing(sqlite3.connect(day_path(directory, day), isolation_level=None)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (_ERASURES,)).fetchone():
            return
        for place, length in connection.execute(f"SELECT place, length FROM {_ERASURES}").fetchall():  # noqa: S608
            overwrite_block(raw_path(directory, day), place, length)
        connection.execute(f"DROP TABLE {_ERASURES}")


def finish_all_erasures(directory: str) -> None:
    """The same for all days; and what a process that was killed has left half written goes."""
    for left in Path(directory).glob(f"*.sqlite{NEW}*"):
        left.unlink(missing_ok=True)
    for day in days_in(directory, 0.0):
        # A damaged one is another's to mend.
        with suppress(sqlite3.DatabaseError):
            finish_erasures(directory, day)


def _places(old: sqlite3.Connection, numbers: list[int]) -> dict[int, set[int]]:
    """Block and line of each decision of the person."""
    found: dict[int, set[int]] = {}
    for number in numbers:
        for column in ADDRESS_COLUMNS:
            for block, line in old.execute(f"SELECT block, line FROM decisions WHERE {column} = ?", (number,)):  # noqa: S608
                found.setdefault(block, set()).add(line)
    return found


def _changes(
    raw: str, places: list[int], raw_bytes: int, gone: dict[int, set[int]], person: Person
) -> Iterator[_Change]:
    if not Path(raw).exists():
        return
    for place, length, lines in blocks_at(raw, [each for each in places if each < raw_bytes], raw_bytes):
        lost = gone.get(place, set())
        if lines is None:
            # Damaged, or overwritten before. Nobody can read it; with the person's decisions it goes.
            if lost:
                yield _Change(place, length, [], 0)
            continue
        if not (lost or person.is_in(b"\n".join(lines))):
            continue
        after = [None if number in lost else person.blotted(line) for number, line in enumerate(lines)]
        blotted = sum(line is not None and line != before for line, before in zip(after, lines, strict=True))
        if lost or blotted:
            yield _Change(place, length, after, blotted)


def _append(raw: str, raw_bytes: int, changes: list[_Change]) -> tuple[list[_Move], int]:
    """Write what is left of changed blocks behind the others, to disk: where their lines are now; and the new end."""
    moves: list[_Move] = []
    end = raw_bytes
    fd = os.open(raw, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.ftruncate(fd, raw_bytes)
        for place, _, lines, _ in changes:
            kept = [(number, line) for number, line in enumerate(lines) if line is not None]
            moves += [_Move(place, number, end, after) for after, (number, _) in enumerate(kept)]
            block = block_of([line for _, line in kept]) if kept else b""
            while block:
                written = os.pwrite(fd, block, end)
                block, end = block[written:], end + written
        os.fsync(fd)
    finally:
        os.close(fd)
    return moves, end


def _write_anew(path: str, gone: list[int], changes: list[_Change], moves: list[_Move], end: int) -> None:
    """The day without decisions of these names, and without what only those had."""
    new = f"{path}{NEW}"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS new", (new,))
        # It counts when it is renamed, not before.
        connection.execute("PRAGMA new.journal_mode = OFF")
        connection.execute("PRAGMA new.synchronous = OFF")
        connection.execute("CREATE TEMP TABLE gone (n INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO gone VALUES (?)", [(number,) for number in gone])
        # With types as those of the columns that are compared, or no index would be used.
        columns = "place INTEGER, number INTEGER, block INTEGER, line INTEGER"
        connection.execute(f"CREATE TEMP TABLE moves ({columns}, PRIMARY KEY (place, number))")
        connection.executemany("INSERT INTO moves VALUES (?, ?, ?, ?)", moves)
        connection.execute("BEGIN")
        _copy(connection)
        connection.execute("UPDATE new.meta SET raw_bytes = ?", (end,))
        connection.execute(f"CREATE TABLE new.{_ERASURES} (place INTEGER NOT NULL, length INTEGER NOT NULL)")
        erased = [(each.place, each.length) for each in changes]
        connection.executemany(f"INSERT INTO new.{_ERASURES} VALUES (?, ?)", erased)  # noqa: S608
        connection.execute("COMMIT")
    _take_its_place(new, path)


def _copy(connection: sqlite3.Connection) -> None:
    """All tables, then all indexes. Decisions first: other tables keep what those refer to."""
    made = connection.execute(
        "SELECT name, type, sql FROM main.sqlite_master WHERE sql NOT NULL AND name != ? "
        "ORDER BY type = 'index', name != 'decisions'",
        (_ERASURES,),
    ).fetchall()
    for name, kind, sql in made:
        head, _, rest = sql.partition(name)
        connection.execute(f"{head}new.{name}{rest}")
        if kind == "table":
            columns = [row[1] for row in connection.execute(f"PRAGMA main.table_info({name})")]
            wanted = ", ".join(_COLUMNS.get((name, each), each) for each in columns)
            condition = _KEPT.get(name, "1")
            connection.execute(f"INSERT INTO new.{name} SELECT {wanted} FROM main.{name} AS old WHERE {condition}")  # noqa: S608


def _take_its_place(new: str, path: str) -> None:
    """On disk before it has the name; owner and mode stay."""
    status = Path(path).stat()
    fd = os.open(new, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if os.geteuid() == 0:
            os.fchown(fd, status.st_uid, status.st_gid)
        os.fchmod(fd, status.st_mode & 0o777)
        os.fsync(fd)
    finally:
        os.close(fd)
    Path(new).replace(path)
    directory = os.open(Path(path).parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
